package corpus

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Tally counts what reading the documents met.
type Tally struct {
	BOMs     int64            `json:"boms"`
	Blank    int64            `json:"blank_lines"`
	Bad      int64            `json:"bad_documents"`
	Reasons  map[string]int64 `json:"bad_reasons,omitempty"` // of Bad, each with its number
	FirstBad string           `json:"first_bad,omitempty"`
}

// maxReasons bounds Tally.Reasons; whatever the files hold, there are not many ways to be broken.
const maxReasons = 32

// bad counts a document that cannot be read, or returns it as the error that ends the reading.
func (c *Corpus) bad(t *Tally, e *Error) error {
	if c.opt.BadDocuments != "skip" {
		e.Advice = joinAdvice(e.Advice, "mend it, or set data.bad_documents = \"skip\"")
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

// WithinBudget returns an error if more documents were left out than Options.BadShare allows, with their reasons.
func (c *Corpus) WithinBudget(t *Tally, documents int64) error {
	all := documents + t.Bad
	if share := float64(t.Bad) / float64(all); t.Bad > 0 && share > c.opt.BadShare {
		return &Error{
			What: fmt.Sprintf("%d of %d documents cannot be read, and data.bad_share allows %.4g %%: %s; the first: %s",
				t.Bad, all, 100*c.opt.BadShare, t.ReasonsText(), t.FirstBad),
			Advice: fmt.Sprintf("mend them, or raise data.bad_share to %.2g", math.Ceil(1000*share)/1000),
		}
	}
	return nil
}

// ReasonsText lists Reasons, the most frequent first.
func (t *Tally) ReasonsText() string {
	names := slices.SortedFunc(maps.Keys(t.Reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.Reasons[b], t.Reasons[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d times %s", t.Reasons[name], name)
	}
	return strings.Join(names, ", ")
}
