package parquet

import (
	"errors"
	"fmt"
)

// header is what is needed of a page's header.
type header struct {
	kind             int32
	unpacked, packed int32
	values           int32
	encoding         int32
	levelEncoding    int32
	defBytes         int32 // dataPage2: bytes of definition levels, which are never packed
	repBytes         int32
	plainBody        bool // dataPage2: the rest is not packed either
	size             int  // bytes of the header itself
}

// parseHeader reads the header at the start of b.
func parseHeader(b []byte) (header, error) {
	h := header{kind: -1, levelEncoding: levelsRLE}
	t := &thrift{b: b}
	t.read(fields{
		1: &h.kind, 2: &h.unpacked, 3: &h.packed,
		5: fields{1: &h.values, 2: &h.encoding, 3: &h.levelEncoding}, // dataPage
		7: fields{1: &h.values, 2: &h.encoding},                      // dictionaryPage
		8: fields{1: &h.values, 4: &h.encoding, 5: &h.defBytes, 6: &h.repBytes, // dataPage2
			7: func(kind byte) { h.plainBody = kind == boolFalse }},
	})
	h.size = len(b) - len(t.b)
	switch {
	case t.err != nil:
		return h, t.err
	case h.kind < dataPage || h.kind > dataPage2:
		return h, fmt.Errorf("a page of the unknown kind %d", h.kind)
	case h.packed < 0 || h.unpacked < 0 || h.values < 0 || h.defBytes < 0 || h.repBytes < 0:
		return h, errors.New("a page of negative size")
	case h.unpacked > maxPage:
		return h, fmt.Errorf("a page of %d bytes, more than %d; write the file with smaller pages", h.unpacked, maxPage)
	case int64(h.unpacked) > freeBytes+maxRatio*int64(h.packed):
		return h, fmt.Errorf("a page that grows from %d to %d bytes", h.packed, h.unpacked)
	case int64(h.defBytes)+int64(h.repBytes) > int64(min(h.packed, h.unpacked)):
		return h, errors.New("levels longer than their page")
	}
	return h, nil
}
