package parquet

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	maxPage   = 128 << 20 // bytes of a page, unpacked
	maxHeader = 1 << 20   // bytes of a page's header, which may quote its least and greatest value
	firstRead = 4 << 10   // bytes that hold nearly every header
)

// The kinds of pages, and the encodings of values.
const (
	dataPage       = 0
	indexPage      = 1
	dictionaryPage = 2
	dataPage2      = 3

	plain           = 0
	plainDictionary = 2
	levelsRLE       = 3
	deltaNumbers    = 5
	deltaLength     = 6
	deltaPrefix     = 7
	dictionary      = 8
)

// errStop says that the caller wants no more values.
var errStop = errors.New("stopped")

// Values yields the value of each row; it shares memory with the reader and holds until the next. A row without a value
// yields ErrNull, and reading goes on. Any other error is *Error or the reader's, and the last thing yielded.
func (c *Column) Values() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for e, err := range c.entries() {
			if err == nil && e.def < c.def {
				err = ErrNull
			}
			if !yield(e.value, err) {
				return
			}
		}
	}
}

// entry is a value, or a place where there is none, with its levels.
type entry struct {
	rep, def int
	value    []byte // where def is the highest
}

// entries yields every entry of the column. An error is the last thing yielded.
func (c *Column) entries() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		p := &pages{c: c}
		defer func() {
			if p.zst != nil {
				p.zst.Close()
			}
		}()
		for i, k := range c.chunks {
			switch err := p.chunk(k, yield); err {
			case nil:
			case errStop:
				return
			default:
				yield(entry{}, &Error{fmt.Sprintf("row group %d, page at byte %d", i, p.at), err})
				return
			}
		}
	}
}

// pages unpacks pages one after the other into the same memory.
type pages struct {
	c      *Column
	at     int64 // where the page lies
	head   []byte
	packed []byte
	body   []byte // of the data page
	dict   []byte // of the dictionary page
	words  []span // of the dictionary
	last   []byte // value, where the next begins as it does
	gz     gzip.Reader
	zst    *zstd.Decoder
	given  int64 // bytes of values yielded from the chunk
}

// span is a word in the dictionary page.
type span struct{ lo, hi int32 }

func (p *pages) chunk(k chunk, yield func(entry, error) bool) error {
	p.at, p.words, p.given = k.begin, p.words[:0], 0
	end := k.begin + k.len
	for left := k.values; left > 0; {
		h, err := p.header(end)
		if err != nil {
			return err
		}
		body := p.at + int64(h.size)
		if int64(h.packed) > end-body {
			return errors.New("a page that runs out of its column")
		}
		p.packed = grow(p.packed, int(h.packed))
		if err := readFull(p.c.f.r, p.packed, body); err != nil {
			return err
		}
		switch h.kind {
		case dictionaryPage:
			err = p.dictionary(h, k.codec)
		case dataPage, dataPage2:
			if int64(h.values) > left {
				return fmt.Errorf("%d values where %d are left", h.values, left)
			}
			left -= int64(h.values)
			err = p.data(h, k, yield)
		}
		if err != nil {
			return err
		}
		p.at = body + int64(h.packed)
	}
	return nil
}

func (p *pages) header(end int64) (header, error) {
	for size := int64(firstRead); ; size *= 8 {
		n := min(size, end-p.at, maxHeader)
		if n <= 0 {
			return header{}, errShort
		}
		p.head = grow(p.head, int(n))
		if err := readFull(p.c.f.r, p.head, p.at); err != nil {
			return header{}, err
		}
		h, err := parseHeader(p.head)
		if !errors.Is(err, errShort) || n < size {
			return h, err
		}
	}
}

func (p *pages) dictionary(h header, codec int32) (err error) {
	if h.encoding != plain && h.encoding != plainDictionary {
		return fmt.Errorf("a dictionary of the unknown encoding %d", h.encoding)
	}
	if p.dict, err = p.unpack(p.dict, p.packed, int(h.unpacked), codec); err != nil {
		return err
	}
	if int64(h.values)*least(p.c.typ) > int64(len(p.dict)) {
		return errors.New("a dictionary with more words than room")
	}
	p.words = slices.Grow(p.words[:0], int(h.values))
	at := 0
	for range h.values {
		lo, hi, err := plainValue(p.dict, at, p.c.typ)
		if err != nil {
			return err
		}
		p.words = append(p.words, span{int32(lo), int32(hi)})
		at = hi
	}
	return nil
}

// levels are the repetition or definition levels of a page, all 0 where the highest is 0.
type levels struct {
	hybrid
	highest int
}

func newLevels(b []byte, highest int) levels {
	return levels{hybrid{b: b, width: bits.Len(uint(highest))}, highest}
}

func (l *levels) next() (int, error) {
	if l.highest == 0 {
		return 0, nil
	}
	v, err := l.hybrid.next()
	if err == nil && int64(v) > int64(l.highest) {
		err = fmt.Errorf("level %d, and the highest is %d", v, l.highest)
	}
	return int(v), err
}

// countHighest returns how many of the next n levels are the highest, without taking them.
func (l levels) countHighest(n int) (set int, err error) {
	if l.highest == 0 {
		return n, nil
	}
	for n > 0 {
		v, err := l.next()
		if err != nil {
			return 0, err
		}
		again := 1 + int(min(l.run, uint64(n-1))) // a run costs nothing, however long it is
		l.run -= uint64(again - 1)
		if n -= again; v == l.highest {
			set += again
		}
	}
	return set, nil
}

// cutLevels takes levels off the front of a page that states their length.
func cutLevels(body []byte, highest int, encoding int32) (levels, rest []byte, err error) {
	if highest == 0 {
		return nil, body, nil
	}
	if encoding != levelsRLE {
		return nil, nil, fmt.Errorf("levels of the unknown encoding %d", encoding)
	}
	lo, hi, err := plainValue(body, 0, byteArray)
	if err != nil {
		return nil, nil, errors.New("levels longer than their page")
	}
	return body[lo:hi], body[hi:], nil
}

func (p *pages) data(h header, k chunk, yield func(entry, error) bool) (err error) {
	packed := p.packed
	var reps, defs []byte
	if h.kind == dataPage2 {
		skip := h.repBytes + h.defBytes
		reps, defs, packed = packed[:h.repBytes], packed[h.repBytes:skip], packed[skip:]
		h.unpacked -= skip
		if h.plainBody {
			k.codec = unpacked
		}
	}
	if p.body, err = p.unpack(p.body, packed, int(h.unpacked), k.codec); err != nil {
		return err
	}
	body := p.body
	if h.kind == dataPage {
		if reps, body, err = cutLevels(body, p.c.rep, h.repEncoding); err != nil {
			return err
		}
		if defs, body, err = cutLevels(body, p.c.def, h.levelEncoding); err != nil {
			return err
		}
	}
	rep, def := newLevels(reps, p.c.rep), newLevels(defs, p.c.def)
	set, err := def.countHighest(int(h.values))
	if err != nil {
		return err
	}
	next, err := p.values(h.encoding, body, set)
	if err != nil {
		return err
	}
	for range h.values {
		var e entry
		if e.rep, err = rep.next(); err != nil {
			return err
		}
		if e.def, err = def.next(); err != nil {
			return err
		}
		if e.def == p.c.def {
			if e.value, err = next(); err != nil {
				return err
			}
			if p.given += int64(len(e.value)); p.given > maxPage+maxRatio*k.len {
				return fmt.Errorf("a column that grows from %d bytes to more than %d", k.len, p.given)
			}
		}
		if !yield(e, nil) {
			return errStop
		}
	}
	return nil
}
