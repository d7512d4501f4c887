package parquet

import (
	"errors"
	"fmt"
	"slices"
)

// The physical types of columns that are read.
const (
	boolean   = 0
	int32Col  = 1
	int64Col  = 2
	float     = 4
	doubleCol = 5
	byteArray = 6
)

// What a group or a column means, as far as it changes what is read.
const (
	noMeaning = -1
	isUTF8    = 0
	isList    = 3
	isEnum    = 4
	isJSON    = 19
)

const (
	required = 0
	optional = 1
	repeated = 2
)

// maxNodes bounds the groups and columns of a file: each costs a hundred bytes.
const maxNodes = 10_000

// node is a column, or a group of them.
type node struct {
	name       string
	typ        int32 // -1: a group
	repetition int32
	meaning    int32
	children   []*node
	def, rep   int // the levels at which it is there, and at which it comes again
	leaf       int // number of the column in Table.columns
}

// schema returns the root.
func (f *File) schema() (*node, error) {
	type element struct {
		typ, repetition, children, meaning int32
		name                               []byte
	}
	var e element
	t := &thrift{b: f.footer}
	logical := func(kind byte) {
		if kind != structT {
			t.skip(kind, 0)
			return
		}
		t.each(func(id int64, kind byte) {
			if id == 3 {
				e.meaning = isList
			}
			t.skip(kind, 0)
		})
	}
	of := fields{1: &e.typ, 3: &e.repetition, 4: &e.name, 5: &e.children, 6: &e.meaning, 10: logical}
	type open struct {
		*node
		left int32
	}
	var root *node
	var groups []open
	nodes := 0
	t.read(fields{2: func() {
		e = element{typ: -1, meaning: noMeaning}
		t.read(of)
		nodes++
		for len(groups) > 0 && groups[len(groups)-1].left == 0 {
			groups = groups[:len(groups)-1]
		}
		switch {
		case t.err != nil:
			return
		case nodes > maxNodes:
			t.fail(fmt.Errorf("more than %d columns", maxNodes))
			return
		case e.children < 0:
			t.fail(errors.New("a group with fewer than no columns"))
			return
		case root != nil && len(groups) == 0:
			t.fail(errors.New("a column outside of the root"))
			return
		case len(groups) > maxDepth:
			t.fail(errors.New("columns nested too deep"))
			return
		case e.repetition < required || e.repetition > repeated:
			t.fail(fmt.Errorf("a column of the unknown repetition %d", e.repetition))
			return
		}
		n := &node{name: string(e.name), typ: e.typ, repetition: e.repetition, meaning: e.meaning}
		if e.children > 0 {
			n.typ = -1
		}
		if root == nil {
			root = n
		} else {
			in := &groups[len(groups)-1]
			in.left--
			in.children = append(in.children, n)
			n.def, n.rep = in.def, in.rep
			if n.repetition != required {
				n.def++
			}
			if n.repetition == repeated {
				n.rep++
			}
		}
		if e.children > 0 {
			groups = append(groups, open{n, e.children})
		}
	}})
	switch {
	case t.err != nil:
		return nil, t.err
	case root == nil:
		return nil, errors.New("no columns")
	}
	return root, nil
}

// child returns the first child of that name, nil if there is none.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// isText reports whether the node is a column of strings.
func (n *node) isText() bool {
	return n.typ == byteArray && slices.Contains([]int32{noMeaning, isUTF8, isEnum, isJSON}, n.meaning)
}

// element returns what a group of the kind LIST lists, and the node that is repeated: the group between them has no
// meaning, unless an old writer left it out.
func (n *node) element() (list, element *node) {
	if n.typ >= 0 || n.meaning != isList || len(n.children) != 1 || n.children[0].repetition != repeated {
		return nil, nil
	}
	list = n.children[0]
	if len(list.children) != 1 || list.name == "array" || list.name == n.name+"_tuple" {
		return list, list
	}
	return list, list.children[0]
}

// Columns returns the names at the top level.
func (f *File) Columns() (names []string, err error) {
	root, err := f.schema()
	if err != nil {
		return nil, footerFault("%w", err)
	}
	for _, c := range root.children {
		names = append(names, c.name)
	}
	return names, nil
}
