package inspect

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// Refused is a batch that was refused, as it is saved.
type Refused struct {
	Code      string   `json:"code"`
	Step      int64    `json:"step"`  // the update that was not made
	Batch     int64    `json:"batch"` // cursor behind it
	Message   string   `json:"message"`
	Documents []string `json:"documents"` // of each sequence
	Bounds    []int    `json:"bounds"`    // where each sequence begins; last: the number of positions
	Tokens    []int32  `json:"tokens"`
	Labels    []int32  `json:"labels"`
	Counts    []bool   `json:"counts"`
}

// Save writes the batch that an event is about to dir/batch-N.json, making dir if need be.
func (b Batch) Save(fsys durable.FS, dir string, describe func(data.Ref) string, e *runlog.Event) error {
	r := Refused{Code: e.Code, Step: e.Step, Batch: e.Batch, Message: e.Message, Tokens: b.Tokens, Labels: b.Labels,
		Counts: b.Counts}
	for _, s := range b.Spans {
		r.Documents = append(r.Documents, describe(s.Doc))
		r.Bounds = append(r.Bounds, s.Start)
	}
	r.Bounds = append(r.Bounds, len(b.Tokens))
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := durable.Mkdir(fsys, dir); err != nil {
		return err
	}
	return durable.WriteFile(fsys, filepath.Join(dir, fmt.Sprintf("batch-%d.json", e.Batch)), raw)
}
