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
	t.fields(func(id int64, kind byte) {
		switch {
		case id == 1:
			want(t, kind, &h.kind)
		case id == 2:
			want(t, kind, &h.unpacked)
		case id == 3:
			want(t, kind, &h.packed)
		case id == 5 && kind == structT:
			t.fields(func(id int64, kind byte) {
				switch id {
				case 1:
					want(t, kind, &h.values)
				case 2:
					want(t, kind, &h.encoding)
				case 3:
					want(t, kind, &h.levelEncoding)
				default:
					t.skip(kind)
				}
			})
		case id == 7 && kind == structT:
			t.fields(func(id int64, kind byte) {
				switch id {
				case 1:
					want(t, kind, &h.values)
				case 2:
					want(t, kind, &h.encoding)
				default:
					t.skip(kind)
				}
			})
		case id == 8 && kind == structT:
			t.fields(func(id int64, kind byte) {
				switch id {
				case 1:
					want(t, kind, &h.values)
				case 4:
					want(t, kind, &h.encoding)
				case 5:
					want(t, kind, &h.defBytes)
				case 6:
					want(t, kind, &h.repBytes)
				case 7:
					h.plainBody = kind == boolFalse
				default:
					t.skip(kind)
				}
			})
		default:
			t.skip(kind)
		}
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
