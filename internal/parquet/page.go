package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
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
				yield(nil, &Error{fmt.Sprintf("row group %d, page at byte %d", i, p.at), err})
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

func (p *pages) chunk(k chunk, yield func([]byte, error) bool) error {
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
	if int64(h.values)*4 > int64(len(p.dict)) {
		return errors.New("a dictionary with more words than room")
	}
	p.words = slices.Grow(p.words[:0], int(h.values))
	at := 0
	for range h.values {
		lo, hi, err := plainValue(p.dict, at)
		if err != nil {
			return err
		}
		p.words = append(p.words, span{int32(lo), int32(hi)})
		at = hi
	}
	return nil
}

func (p *pages) data(h header, k chunk, yield func([]byte, error) bool) (err error) {
	packed, levels := p.packed, []byte(nil)
	if h.kind == dataPage2 {
		skip := h.repBytes + h.defBytes
		levels, packed = packed[h.repBytes:skip], packed[skip:]
		h.unpacked -= skip
		if h.plainBody {
			k.codec = 0
		}
	}
	if p.body, err = p.unpack(p.body, packed, int(h.unpacked), k.codec); err != nil {
		return err
	}
	body := p.body
	if h.kind == dataPage && p.c.optional {
		if h.levelEncoding != levelsRLE {
			return fmt.Errorf("levels of the unknown encoding %d", h.levelEncoding)
		}
		lo, hi, err := plainValue(body, 0)
		if err != nil {
			return errors.New("levels longer than their page")
		}
		levels, body = body[lo:hi], body[hi:]
	}
	there := hybrid{b: levels, width: 1}
	set := int(h.values) // rows with a value
	if p.c.optional {
		if set, err = there.count(set); err != nil {
			return err
		}
	}
	next, err := p.values(h.encoding, body, set)
	if err != nil {
		return err
	}
	for range h.values {
		if p.c.optional {
			if one, err := there.next(); err != nil {
				return err
			} else if one == 0 {
				if !yield(nil, ErrNull) {
					return errStop
				}
				continue
			}
		}
		v, err := next()
		if err != nil {
			return err
		}
		if p.given += int64(len(v)); p.given > maxPage+maxRatio*k.len {
			return fmt.Errorf("a column that grows from %d bytes to more than %d", k.len, p.given)
		}
		if !yield(v, nil) {
			return errStop
		}
	}
	return nil
}

// codecs are the names of the ways of packing.
var codecs = [...]string{"none", "Snappy", "gzip", "LZO", "Brotli", "LZ4", "zstd", "LZ4"}

const (
	unpacked   = 0
	snappyPack = 1
	gzipPack   = 2
	zstdPack   = 6
)

func readable(codec int32) bool {
	return codec == unpacked || codec == snappyPack || codec == gzipPack || codec == zstdPack
}

func codecName(codec int32) string {
	if uint32(codec) < uint32(len(codecs)) {
		return codecs[codec]
	}
	return fmt.Sprintf("codec %d", codec)
}

// unpack returns what packed holds, which must be exactly n bytes, in the memory of dst.
func (p *pages) unpack(dst, packed []byte, n int, codec int32) (_ []byte, err error) {
	fault := errors.New("a page of another size than it states")
	if codec == snappyPack { // the length stands at the front
		if got, err := snappy.DecodedLen(packed); err != nil || got != n {
			return dst, fault
		}
	}
	dst = grow(dst, n)
	got := n
	switch codec {
	case unpacked:
		got = len(packed)
		copy(dst, packed)
	case snappyPack:
		_, err = snappy.Decode(dst, packed)
	case gzipPack:
		if err = p.gz.Reset(bytes.NewReader(packed)); err == nil {
			_, err = io.ReadFull(&p.gz, dst)
		}
		if err != nil {
			return dst, fmt.Errorf("gzip: %w", err)
		}
		var more [1]byte
		if k, err := p.gz.Read(more[:]); k > 0 || err != io.EOF {
			return dst, fault
		}
	case zstdPack:
		if p.zst == nil {
			p.zst, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return dst, err
			}
		}
		var out []byte
		out, err = p.zst.DecodeAll(packed, dst[:0:n])
		got = len(out)
	}
	if err == nil && got != n {
		err = fault
	}
	return dst, err
}

// grow returns n bytes in the memory of b where that suffices.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
