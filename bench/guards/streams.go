package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// stream is what the guard saw in a run in which it only recorded. Other limits can be tried on it in a moment.
type stream struct {
	Rules        []byte // of the run, as its log has them
	Observations []guard.Observation
}

// gather makes the runs of life whose streams are not there yet, one after another, the groups in turn.
func (p *proof) gather(ctx context.Context) error {
	if err := os.MkdirAll(p.streams, 0o777); err != nil {
		return err
	}
	groups := lifeGroups()
	for i := range len(groups[0].runs) { // the first has most
		for _, g := range groups {
			if i >= len(g.runs) {
				continue
			}
			a := g.runs[7*i%len(g.runs)] // texts of all kinds come soon
			path := p.streamOf(a)
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			began := time.Now()
			if err := p.record(ctx, p.version(a), path); err != nil {
				return fmt.Errorf("%s: %w", a.label, err)
			}
			fmt.Fprintf(p.log, "%s  %s  (%.0f s)\n", time.Now().Format("15:04:05"), a.label, time.Since(began).Seconds())
		}
	}
	return nil
}

func (p *proof) streamOf(a arm) string { return filepath.Join(p.streams, p.version(a).key()+".gob") }

// record trains an arm while the guard only records, and keeps what it saw.
func (p *proof) record(ctx context.Context, a arm, path string) error {
	dir, err := os.MkdirTemp(p.work, "life-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &runner{texts: p.texts, dir: filepath.Join(dir, "run")}
	a.Set = with(a.Set, "guard.mode=observe")
	if _, err := r.train(ctx, r.dir, a); err != nil {
		return err
	}
	l, err := runlog.Read(durable.OS, filepath.Join(r.dir, "log.jsonl"))
	if err != nil {
		return err
	}
	var s stream
	for _, v := range runlog.All[runlog.Plan](l) {
		s.Rules = v.Guard
	}
	for _, v := range runlog.All[runlog.Step](l) {
		s.Observations = append(s.Observations, guard.Observation{Step: v.Step, Batch: v.Batch, Labels: v.Labels,
			Loss: float64(v.Loss), GradNorm: float64(v.GradNorm), LR: float64(v.LR), UpdateRatio: float64(v.UpdateRatio)})
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(gob.NewEncoder(f).Encode(s), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// replay gives a stream to the guard as it is now. ok is false where the run was not made yet.
func (p *proof) replay(a arm, limits int64) (o outcome, ok bool, err error) {
	f, err := os.Open(p.streamOf(a))
	if errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	} else if err != nil {
		return o, false, err
	}
	defer f.Close()
	var s stream
	var rules guard.Rules
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return o, false, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err := json.Unmarshal(s.Rules, &rules); err != nil {
		return o, false, fmt.Errorf("%s: %w", f.Name(), err)
	}
	rules.Act, rules.Limits = false, limits
	state := guard.New(rules)
	for _, seenAt := range s.Observations {
		var d guard.Decision
		state, d = guard.Next(state, seenAt)
		o.Made++
		o.Tokens += seenAt.Labels
		for _, e := range d.Events {
			if strings.HasPrefix(e.Code, "E") {
				o.Events = append(o.Events, seen{e.Code, e.Severity, seenAt.Step, false, "", e.Message})
			}
		}
	}
	return o, true, nil
}
