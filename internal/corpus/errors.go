package corpus

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// Error is a fault of the user's data: what is wrong, where, and what to do about it. Line and Byte count from 1; 0
// means no place. Byte is the position in its line.
type Error struct {
	Path       string
	Line, Byte int64
	What       string
	Advice     string
	Err        error // the cause, if there is one
}

// Error returns "data: path:line:byte: what: cause; advice" without the parts that are empty.
func (e *Error) Error() string {
	text := e.What
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	switch {
	case e.Path != "" && e.Line > 0:
		return fmt.Sprintf("data: %s:%d:%d: %s", Printable(e.Path), e.Line, e.Byte, text)
	case e.Path != "":
		return "data: " + Printable(e.Path) + ": " + text
	}
	return "data: " + text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// cannot returns the fault of a file on which the system refuses an operation.
func cannot(do, path string, err error) *Error {
	e := &Error{Path: path, What: "cannot " + do, Err: err, Advice: "run again when nothing moves or writes files here"}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		e.Err = pe.Err // the path would come twice
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Advice = "make it readable for this user"
	case errors.Is(err, fs.ErrNotExist):
		e.Advice = "check the spelling, or pass --data with another path"
	}
	return e
}

// Tally counts what was skipped or dropped while documents were read.
type Tally struct {
	BOMs     int64            `json:"boms"`
	Blank    int64            `json:"blank_lines"`
	Bad      int64            `json:"bad_documents"`
	Reasons  map[string]int64 `json:"bad_reasons,omitempty"` // of Bad, each with its number
	FirstBad string           `json:"first_bad,omitempty"`

	Nulls      int64            `json:"nulls,omitempty"`          // records whose text is null
	Uncounted  int64            `json:"uncounted,omitempty"`      // conversations in which nothing counts: skipped
	Same       int64            `json:"same_answers,omitempty"`   // preferences of which both answers are one: skipped
	Chats      int64            `json:"conversations,omitempty"`  // with something that counts
	Answers    int64            `json:"answers,omitempty"`        // that count
	Empty      int64            `json:"empty_answers,omitempty"`  // of Answers: without a word
	NoRejected int64            `json:"empty_rejected,omitempty"` // without a word, of preferences
	Left       int64            `json:"left_answers,omitempty"`   // of Answers: not learned, as the template writes them
	Seams      int64            `json:"seams,omitempty"`          // answers whose first token holds a part of the prompt
	Lost       int64            `json:"lost_messages,omitempty"`  // that the template does not write
	Ignored    map[string]int64 `json:"ignored_keys,omitempty"`   // of messages, each with its number
}

// maxReasons bounds Tally.Reasons. There are few ways to be broken, whatever the files hold.
const maxReasons = 32

// Bad counts a document that cannot be used, or returns it as an error that ends the reading.
func (c *Corpus) Bad(t *Tally, e *Error) error { return c.bad(t, e) }

// bad counts a document that cannot be read, or returns it as an error that ends the reading.
func (c *Corpus) bad(t *Tally, e *Error) error {
	if c.opt.BadDocuments != "skip" {
		if e.Advice != "" {
			e.Advice += "; "
		}
		e.Advice += "correct it, or set data.bad_documents = \"skip\""
		return e
	}
	if t.Bad++; t.FirstBad == "" {
		t.FirstBad = e.Error()
	}
	if t.Reasons == nil {
		t.Reasons = map[string]int64{}
	}
	reason := e.What
	if _, known := t.Reasons[reason]; !known && len(t.Reasons) >= maxReasons {
		reason = "other reasons"
	}
	t.Reasons[reason]++
	return nil
}

// WithinBudget returns an error with the reasons if more documents were skipped than Options.BadShare allows.
func (c *Corpus) WithinBudget(t *Tally, documents int64) error {
	all := documents + t.Bad
	if share := float64(t.Bad) / float64(all); t.Bad > 0 && share > c.opt.BadShare {
		return &Error{
			What: fmt.Sprintf("%d of %d documents cannot be read, and data.bad_share allows %.4g %%: %s; the first: %s",
				t.Bad, all, 100*c.opt.BadShare, t.ReasonsText(), t.FirstBad),
			Advice: fmt.Sprintf("correct them, or raise data.bad_share to %.2g", math.Ceil(1000*share)/1000),
		}
	}
	return nil
}

// ReasonsText lists Reasons, the most frequent first.
func (t *Tally) ReasonsText() string {
	names := mostFirst(t.Reasons)
	for i, name := range names {
		names[i] = fmt.Sprintf("%d times %s", t.Reasons[name], name)
	}
	return strings.Join(names, ", ")
}
