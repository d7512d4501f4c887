package tokenizer

import (
	"errors"
	"fmt"
	"slices"

	"gimbal/internal/strictjson"
)

// Marks are the tokens around the texts of a model. They follow from more files than tokenizer.json.
type Marks struct {
	EOS    int32   // ends a document
	BOS    int32   // begins a document that begins with one; -1: there is none
	Begins bool    // documents begin with BOS; else with EOS
	Ends   []int32 // end what the model writes, EOS or not
}

// Mark sets the marks. Call it before others use the tokenizer. It panics if EOS or BOS is no token.
func (t *Tokenizer) Mark(m Marks) {
	n := int32(t.VocabSize())
	if m.EOS < 0 || m.EOS >= n || m.BOS < -1 || m.BOS >= n || m.BOS < 0 && m.Begins {
		panic("tokenizer: a mark that is no token")
	}
	t.eos, t.bos, t.begins = m.EOS, m.BOS, m.Begins
	t.ends = slices.DeleteFunc(slices.Clone(m.Ends), func(id int32) bool { return id == m.EOS })
}

// EOS returns the id of the token that ends a document.
func (t *Tokenizer) EOS() int32 { return t.eos }

// NamedEnd returns the special token that ends a text by its name, if there is one.
func (t *Tokenizer) NamedEnd() (id int32, ok bool) {
	id = named(t.added, endNames)
	return id, id >= 0
}

// Ends returns the ids that end what a model writes: EOS, then the others in the order in which the model names them.
func (t *Tokenizer) Ends() []int32 { return append([]int32{t.eos}, t.ends...) }

// BOS returns the id of the beginning-of-text token, if there is one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.bos, t.bos >= 0 }

// First returns the token that tokenizer.json puts before a text, if it does.
func (t *Tokenizer) First() (id int32, ok bool) { return t.first, t.first >= 0 }

// Special reports whether id is a special token: one that spells nothing and that text never becomes.
func (t *Tokenizer) Special(id int32) bool {
	return slices.ContainsFunc(t.added, func(a added) bool { return a.id == id && a.special })
}

// Notes returns what tokenizer.json says and this package does not do, a sentence each.
func (t *Tokenizer) Notes() []string { return t.notes }

// ErrNoBOS says that the tokenizer has no beginning-of-text token.
var ErrNoBOS = errors.New(`tokenizer: there is no beginning-of-text token; use "eos" or "none"`)

// DataStart returns the value of data.start with which documents begin as the model is used to: "bos" or "eos".
func (t *Tokenizer) DataStart() string {
	if t.begins {
		return "bos"
	}
	return "eos"
}

// Start returns the token that opens a document for a value of data.start: the end-of-text token for "eos", the
// beginning-of-text token for "bos" (ErrNoBOS if there is none), and no token for "none" (ok is false).
func (t *Tokenizer) Start(kind string) (id int32, ok bool, err error) {
	switch kind {
	case "eos":
		return t.eos, true, nil
	case "bos":
		if t.bos < 0 {
			return 0, false, ErrNoBOS
		}
		return t.bos, true, nil
	case "none":
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("tokenizer: unknown start token %q; use eos, bos or none", kind)
}

// Bare returns t with a tokenizer.json that puts nothing around a text, for documents that begin with EOS.
func (t *Tokenizer) Bare() (*Tokenizer, error) {
	data, _ := t.json()
	r, from, to := strictjson.New(data), int64(0), int64(0)
	r.Object(func(key []byte) {
		r.Kind()
		at := r.At()
		value := r.Value()
		if string(key) == "post_processor" {
			from, to = at, at+int64(len(value))
		}
	})
	if err := r.End(); err != nil || from == to {
		return nil, broken("post_processor: there is none, %v", err)
	}
	bare, err := ParseAs(slices.Concat(data[:from], []byte("null"), data[to:]),
		Roles{EOS: t.eos, BOS: t.bos, Size: t.VocabSize()})
	if err == nil {
		bare.Mark(Marks{EOS: t.eos, BOS: t.bos, Ends: t.ends})
	}
	return bare, err
}
