package runstate

import (
	"fmt"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/rundir"
)

// Feed gives out the batches of a run, without the sequences that are quarantined.
type Feed struct {
	loader *data.Loader
	Source data.Source // the loader, with what is planted in its batches
	set    *data.Set

	Batch      data.Batch  // in progress
	Next       data.Cursor // behind it
	quarantine map[rundir.Sequence]bool
}

func NewFeed(text *data.Text, seed uint64, batchTokens int) (*Feed, error) {
	l, err := data.NewLoader(text.Train, seed, batchTokens)
	if err != nil {
		return nil, err
	}
	return &Feed{loader: l, Source: l.Source(), set: text.Set}, nil
}

// Take reads the batch of an update.
func (f *Feed) Take(step int64, at data.Cursor) { f.Next = f.Source(step, &f.Batch, at) }

// Pass returns the cursor behind n more batches.
func (f *Feed) Pass(n int64, at data.Cursor) data.Cursor {
	for range n {
		at = f.loader.Next(&f.Batch, at)
	}
	return at
}

// LeaveOut makes the loader leave out the sequences of a list.
func (f *Feed) LeaveOut(list []rundir.Sequence) {
	if len(list) == 0 {
		return
	}
	f.quarantine = make(map[rundir.Sequence]bool, len(list))
	for _, q := range list {
		f.quarantine[q] = true
	}
	f.loader.Skip = func(s data.Span) bool { return f.quarantine[sequenceOf(s)] }
}

func sequenceOf(s data.Span) rundir.Sequence {
	return rundir.Sequence{Source: s.Doc.Source, Offset: s.Doc.Offset, First: s.First}
}

// Describe names where sequences begin, each place once, and the first few of many.
func (f *Feed) Describe(spans []data.Span) (names []string) {
	for _, s := range spans {
		if name := f.set.Locate(s); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const limit = 8
	if len(names) > limit {
		names = append(names[:limit:limit], fmt.Sprintf("and %d more", len(names)-limit))
	}
	return names
}

// SetAside leaves sequences out for the rest of the run, and adds to the list those that are new in it.
func (f *Feed) SetAside(spans []data.Span, list *[]rundir.Sequence) {
	for _, s := range spans {
		if q := sequenceOf(s); !f.quarantine[q] {
			*list = append(*list, q)
		}
	}
	f.LeaveOut(*list)
}
