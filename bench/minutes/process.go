package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	poll = 2 * time.Millisecond

	// longCost is the steps of a process that is only timed: it never gets there.
	longCost = 100_000
)

// process trains, and sleeps while nobody measures it.
type process struct {
	cmd   *exec.Cmd
	dir   string
	log   log
	said  bytes.Buffer
	ended chan error
}

// start begins to train a job and puts it to sleep after some steps, when caches and pages are warm.
func (s *study) start(ctx context.Context, j job) (p *process, err error) {
	p = &process{ended: make(chan error, 1)}
	if p.dir, err = os.MkdirTemp(s.work, "cost-"); err != nil {
		return nil, err
	}
	p.log.path = filepath.Join(p.dir, "run", "log.jsonl")
	if j.peer == "" {
		p.cmd = s.train(ctx, j, longCost, filepath.Dir(p.log.path))
	} else {
		p.log.path = filepath.Join(p.dir, "log.jsonl")
		p.cmd, err = s.peer(ctx, j, "--steps", strconv.Itoa(longCost), "--log", p.log.path)
	}
	if err == nil {
		p.cmd.Stderr = &p.said
		err = p.cmd.Start()
	}
	if err != nil {
		os.RemoveAll(p.dir)
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	if err = p.wait(ctx, costWindow/2); err == nil {
		err = p.signal(syscall.SIGSTOP)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// window wakes the process for so many whole steps, and returns the CPU time of all of them in seconds.
func (p *process) window(ctx context.Context, steps int) (cpu float64, err error) {
	if err := p.signal(syscall.SIGCONT); err != nil {
		return 0, err
	}
	defer p.signal(syscall.SIGSTOP)
	if err := p.wait(ctx, 1); err != nil { // the rest of a step, and cold caches
		return 0, err
	}
	before, err := cpuOf(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := p.wait(ctx, steps); err != nil {
		return 0, err
	}
	cpu, err = cpuOf(p.cmd.Process.Pid)
	return cpu - before, err
}

// wait returns after so many more steps.
func (p *process) wait(ctx context.Context, steps int) error {
	n, err := p.log.steps()
	if err != nil {
		return err
	}
	for until := n + steps; n < until; {
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("the run ended after %d steps: %w\n%s", n, err, strings.TrimSpace(p.said.String()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
		if n, err = p.log.steps(); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) signal(what syscall.Signal) error { return p.cmd.Process.Signal(what) }

// end kills the process and removes what it wrote.
func (p *process) end() {
	p.cmd.Process.Kill()
	<-p.ended
	p.log.close()
	os.RemoveAll(p.dir)
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
		if os.IsNotExist(err) {
			return 0, nil // not yet
		}
		if err != nil {
			return 0, err
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

func (l *log) close() {
	if l.file != nil {
		l.file.Close()
	}
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

// processor is the family, model and name of the CPU.
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
