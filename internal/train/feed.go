package train

import (
	"fmt"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/rundir"
)

// feed gives out the batches of a run, without the sequences that are quarantined.
type feed struct {
	loader *data.Loader
	source data.Source // the loader, with what is planted in its batches
	set    *data.Set

	batch      data.Batch  // in progress
	next       data.Cursor // behind it
	quarantine map[rundir.Sequence]bool
}

func newFeed(text *data.Text, seed uint64, batchTokens int) (*feed, error) {
	l, err := data.NewLoader(text.Train, seed, batchTokens)
	if err != nil {
		return nil, err
	}
	return &feed{loader: l, source: l.Source(), set: text.Set}, nil
}

// take reads the batch of an update.
func (f *feed) take(step int64, at data.Cursor) { f.next = f.source(step, &f.batch, at) }

// pass returns the cursor behind n more batches.
func (f *feed) pass(n int64, at data.Cursor) data.Cursor {
	for range n {
		at = f.loader.Next(&f.batch, at)
	}
	return at
}

// leaveOut makes the loader leave out the sequences of a list.
func (f *feed) leaveOut(list []rundir.Sequence) {
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

// describe names where sequences begin, each place once, and the first few of many.
func (f *feed) describe(spans []data.Span) (names []string) {
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
