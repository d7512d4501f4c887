package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost returns what a step of a learner takes, from the store or measured now.
func (s *study) cost(ctx context.Context, j job) (cost, error) {
	if c, ok := s.store.Costs[j.key()]; ok {
		return c, nil
	}
	c := cost{Load: load(), When: time.Now().UTC().Format("2006-01-02 15:04"), On: processor()}
	measure := s.costOfGimbal
	if j.peer != "" {
		measure = s.costOfPeer
	}
	var err error
	if c.CPU, c.Wall, err = measure(ctx, j); err != nil {
		return c, fmt.Errorf("cost of a step: %w", err)
	}
	fmt.Fprintf(s.log, "%s: a step costs %.4f s of CPU (%.4f s by the clock, load %s)\n", j.name, c.CPU, c.Wall, c.Load)
	s.store.Costs[j.key()] = c
	return c, s.store.save()
}

// costOfGimbal reads the CPU time of a run as its log grows, and ends it. Its tokenizer stays, for the peers.
func (s *study) costOfGimbal(ctx context.Context, j job) (cpu, wall float64, err error) {
	dir, err := os.MkdirTemp(s.work, "cost-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := filepath.Join(dir, "run")
	cmd := s.train(ctx, j, 1000, run)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w, l := window{}, log{path: filepath.Join(run, "log.jsonl")}
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		select {
		case err := <-ended:
			return 0, 0, fmt.Errorf("the run ended before step %d: %v\n%s", costFirst+costTimes*costWindow, err,
				strings.TrimSpace(said.String()))
		case <-tick.C:
		}
		n, err := l.steps()
		if err != nil {
			return 0, 0, err
		}
		if n < costFirst+costWindow*w.n {
			continue
		}
		if err := w.add(cmd.Process.Pid); err != nil {
			return 0, 0, err
		}
		if w.n <= costTimes {
			continue
		}
		tick.Stop()
		if j.set == "" {
			err = keep(filepath.Join(run, "tokenizer.json"), s.tokenizerPath(j.corpus))
		}
		cancel()
		<-ended
		return w.cpu / costWindow, w.wall / costWindow, err
	}
}

// window finds the cheapest of a few windows of steps.
type window struct {
	n         int // points in time
	last      float64
	at        time.Time
	cpu, wall float64 // of the cheapest
}

func (w *window) add(pid int) error {
	cpu, err := cpuOf(pid)
	if err != nil {
		return err
	}
	now := time.Now()
	if used := cpu - w.last; w.n == 1 || w.n > 1 && used < w.cpu {
		w.cpu, w.wall = used, now.Sub(w.at).Seconds()
	}
	w.n, w.last, w.at = w.n+1, cpu, now
	return nil
}

// log counts the steps in a log that grows.
type log struct {
	path string
	file *os.File
	rest []byte
	n    int
}

func (l *log) steps() (int, error) {
	if l.file == nil {
		f, err := os.Open(l.path)
		if err != nil {
			return 0, nil // not yet
		}
		l.file = f
	}
	more, err := io.ReadAll(l.file)
	if err != nil {
		return 0, err
	}
	l.rest = append(l.rest, more...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return l.n, nil
		}
		l.rest = rest
		if bytes.Contains(line, []byte(`"kind":"step"`)) {
			l.n++
		}
	}
}

// costOfPeer asks the peer, which measures itself in the same windows.
func (s *study) costOfPeer(ctx context.Context, j job) (cpu, wall float64, err error) {
	cmd, err := s.peer(ctx, j, "--cost", fmt.Sprintf("%d,%d,%d", costFirst, costWindow, costTimes))
	if err != nil {
		return 0, 0, err
	}
	out, err := output(cmd)
	if err != nil {
		return 0, 0, err
	}
	var c cost
	err = json.Unmarshal(out, &c)
	return c.CPU, c.Wall, err
}

// tokenizer is Gimbal's for a corpus, which the peers read too. It is made where it is not there.
func (s *study) tokenizer(ctx context.Context, f folder) (string, error) {
	path := s.tokenizerPath(f)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	_, _, err := s.costOfGimbal(ctx, job{candidate: candidate{name: "tokenizer"}, corpus: f, seed: 1})
	return path, err
}

func (s *study) tokenizerPath(f folder) string {
	return filepath.Join(s.work, f.name+"-tokenizer.json")
}

func keep(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o666)
}

// cpuOf is the CPU time of a process so far, in seconds. Source: proc(5), fields 14 and 15 of stat, in ticks of 10 ms.
func cpuOf(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // field 3 is the first
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: too few fields", pid)
	}
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return float64(ticks) / 100, nil
}

// load is the first figure of /proc/loadavg.
func load() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// processor is the name and family of the CPU.
func processor() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	var name []string
	for line := range strings.Lines(string(raw)) {
		k, v, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(k) {
		case "cpu family", "model", "model name":
			name = append(name, strings.TrimSpace(v))
		}
		if len(name) == 3 {
			break
		}
	}
	return strings.Join(name, " ")
}
