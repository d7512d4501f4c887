package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"gimbal/internal/strictjson"
)

const (
	maxRow    = 64 << 20 // bytes of a row as JSON
	maxLeaves = 64       // columns that are read at a time: each holds two pages
)

var errUneven = errors.New("columns that do not fit each other")

// Table is some columns of a file, nested ones too, that are read row by row.
type Table struct {
	f       *File
	top     []*node
	columns []*Column // the columns that hold values
}

// Table returns the columns with these names at the top level. Names that the file does not have are left out.
func (f *File) Table(names []string) (*Table, error) {
	root, err := f.schema()
	if err != nil {
		return nil, footerFault("%w", err)
	}
	t := &Table{f: f}
	for _, n := range root.children {
		if slices.Contains(names, n.name) && root.child(n.name) == n {
			if err := t.add(n, nil); err != nil {
				return nil, footerFault("%w", err)
			}
			t.top = append(t.top, n)
		}
	}
	return t, nil
}

// add collects the columns below a node.
func (t *Table) add(n *node, above []string) error {
	path := append(slices.Clone(above), n.name)
	if n.typ < 0 {
		if len(n.children) == 0 {
			return fmt.Errorf("a group without columns at %q", path)
		}
		for _, c := range n.children {
			if err := t.add(c, path); err != nil {
				return err
			}
		}
		return nil
	}
	if !slices.Contains([]int32{boolean, int32Col, int64Col, float, doubleCol, byteArray}, n.typ) {
		return fmt.Errorf("column %q is of a type that is not read", path)
	}
	if len(t.columns) >= maxLeaves {
		return fmt.Errorf("more than %d columns", maxLeaves)
	}
	c := &Column{f: t.f, path: path, typ: n.typ, def: n.def, rep: n.rep}
	if err := c.rowGroups(); err != nil {
		return err
	}
	n.leaf = len(t.columns)
	t.columns = append(t.columns, c)
	return nil
}

// Bytes returns the size of the pages of all columns, unpacked, as the footer states it.
func (t *Table) Bytes() (n int64) {
	for _, c := range t.columns {
		n += c.bytes
	}
	return n
}

// Rows yields each row as a JSON object, which holds until the next. What is not there is null. An error is *Error or
// the reader's, and the last thing yielded.
//
// Memory: two pages of every column, and one row of at most 64 MiB.
func (t *Table) Rows() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		a := assembler{leaves: make([]leaf, len(t.columns))}
		for i, c := range t.columns {
			next, stop := iter.Pull2(c.entries())
			defer stop()
			a.leaves[i] = leaf{next: next, column: c}
			a.advance(i)
		}
		for row := range t.f.rows {
			a.out = append(a.out[:0], '{')
			for i, n := range t.top {
				a.key(i, n.name)
				a.field(n)
			}
			a.out = append(a.out, '}')
			if a.err == nil && !a.rowEnds() {
				a.err = errUneven
			}
			if a.err != nil {
				err := a.err
				if _, placed := err.(*Error); !placed {
					err = &Error{fmt.Sprintf("row %d", row), err}
				}
				yield(nil, err)
				return
			}
			if !yield(a.out, nil) {
				return
			}
		}
	}
}

// leaf is a column that is being read, with the entry that comes next.
type leaf struct {
	next   func() (entry, error, bool)
	column *Column
	entry
	end bool
}

// assembler writes rows out of the entries of columns. After an error it writes nothing of meaning, but it ends.
type assembler struct {
	leaves []leaf
	out    []byte
	err    error
}

func (a *assembler) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// advance takes the next entry of a column.
func (a *assembler) advance(i int) {
	l := &a.leaves[i]
	if l.end {
		a.fail(errUneven)
		return
	}
	e, err, ok := l.next()
	if err != nil {
		a.fail(err)
	}
	if l.entry, l.end = e, !ok || err != nil; l.end {
		l.entry = entry{}
	}
	if len(a.out) > maxRow {
		a.fail(fmt.Errorf("more than %d bytes", maxRow))
	}
}

// rowEnds reports whether the next entry of every column begins a row.
func (a *assembler) rowEnds() bool {
	return !slices.ContainsFunc(a.leaves, func(l leaf) bool { return !l.end && l.rep != 0 })
}

// first returns the first column below a node, whose levels say whether the node is there.
func (a *assembler) first(n *node) *leaf {
	for n.typ < 0 {
		n = n.children[0]
	}
	return &a.leaves[n.leaf]
}

// skip passes over the one entry that every column below a node has where the node is not there.
func (a *assembler) skip(n *node) {
	if n.typ >= 0 {
		a.advance(n.leaf)
		return
	}
	for _, c := range n.children {
		a.skip(c)
	}
}

func (a *assembler) key(i int, name string) {
	if i > 0 {
		a.out = append(a.out, ',')
	}
	a.out = append(strictjson.AppendQuote(a.out, name), ':')
}

// field writes a node, however often it is there.
func (a *assembler) field(n *node) {
	switch {
	case n.repetition == repeated:
		a.list(n, n)
	case n.repetition == optional && a.first(n).def < n.def:
		a.skip(n)
		a.out = append(a.out, "null"...)
	default:
		a.value(n)
	}
}

// list writes an array: the element as often as the node list comes again.
func (a *assembler) list(list, element *node) {
	l := a.first(list)
	a.out = append(a.out, '[')
	if l.def < list.def {
		a.skip(list)
	} else {
		for i := 0; a.err == nil && (i == 0 || !l.end && l.rep == list.rep); i++ {
			if i > 0 {
				a.out = append(a.out, ',')
			}
			if list == element {
				a.value(element)
			} else {
				a.field(element)
			}
		}
	}
	a.out = append(a.out, ']')
}

// value writes one occurrence of a node that is there.
func (a *assembler) value(n *node) {
	if n.typ >= 0 {
		a.scalar(n)
		return
	}
	if list, element := n.element(); list != nil {
		a.list(list, element)
		return
	}
	a.out = append(a.out, '{')
	for i, c := range n.children {
		a.key(i, c.name)
		a.field(c)
	}
	a.out = append(a.out, '}')
}

// scalar writes the value of a column.
func (a *assembler) scalar(n *node) {
	l := &a.leaves[n.leaf]
	if l.end || l.def != n.def {
		a.fail(errUneven)
		return
	}
	v := l.entry.value
	switch n.typ {
	case boolean:
		a.out = strconv.AppendBool(a.out, v[0] != 0)
	case int32Col:
		a.out = strconv.AppendInt(a.out, int64(int32(binary.LittleEndian.Uint32(v))), 10)
	case int64Col:
		a.out = strconv.AppendInt(a.out, int64(binary.LittleEndian.Uint64(v)), 10)
	case float:
		a.number(float64(math.Float32frombits(binary.LittleEndian.Uint32(v))))
	case doubleCol:
		a.number(math.Float64frombits(binary.LittleEndian.Uint64(v)))
	default:
		a.out = strictjson.AppendQuote(a.out, v)
	}
	a.advance(n.leaf)
}

// number writes a number; what is not finite is null.
func (a *assembler) number(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		a.out = append(a.out, "null"...)
		return
	}
	a.out = strconv.AppendFloat(a.out, f, 'g', -1, 64)
}
