package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longest is how long a command may take before it is given up: hundreds of times what it needs.
const longest = 5 * time.Minute

// errEarly says that a process ended before it could be ended from outside: the machine was busy elsewhere.
var errEarly = errors.New("the process ended by itself before it was ended from outside")

// place is where the scenarios of one side and one tier run.
type place struct {
	binaries
	tier  string
	root  string // of all that this side writes
	texts string
	keep  bool // the runs are not removed
}

// run runs the commands of a scenario and returns what they left.
func (p place) run(ctx context.Context, s scenario) (o outcome, err error) {
	for range 3 {
		if o, err = p.try(ctx, s); !errors.Is(err, errEarly) {
			break
		}
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", s.name, err)
	}
	return o, nil
}

func (p place) try(ctx context.Context, s scenario) (o outcome, err error) {
	dir, err := os.MkdirTemp(p.root, strings.ReplaceAll(s.name, " ", "-")+"-")
	if err != nil {
		return o, err
	}
	if !p.keep {
		defer os.RemoveAll(dir)
	}
	began := time.Now()
	c := cleaner{roots: []string{dir, p.texts}}
	bin := p.shipped
	if s.planted {
		bin = p.planted
	}
	call := func(cmd command) error {
		code, out, err := p.call(ctx, bin, dir, cmd)
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(cmd.words, " "), err)
		}
		name := cmd.words[0]
		o.Exits = append(o.Exits, fmt.Sprintf("%s %d", name, code))
		if !cmd.record || len(bytes.TrimSpace(out)) == 0 {
			return nil
		}
		for n := 2; o.Documents[name] != nil; n++ {
			name = fmt.Sprintf("%s-%d", cmd.words[0], n)
		}
		return o.document(c, name, out)
	}
	for _, cmd := range s.commands {
		if err := call(cmd); err != nil {
			return o, err
		}
	}
	run := filepath.Join(dir, "run")
	if _, err := os.Stat(filepath.Join(run, "checkpoints")); err == nil {
		if err := call(told("eval", "$run", "--json")); err != nil {
			return o, err
		}
	}
	if _, err := os.Stat(filepath.Join(run, "log.jsonl")); err == nil {
		if err := call(told("why", "$run", "--json")); err != nil {
			return o, err
		}
	}
	if err := o.read(c, run); err != nil {
		return o, err
	}
	if s.cut {
		o = o.core()
	}
	o.Seconds = time.Since(began).Seconds()
	return o, nil
}

// call runs one command to its end, or ends it when its log has come far enough.
func (p place) call(ctx context.Context, bin, dir string, c command) (code int, stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	fill := strings.NewReplacer("$run", "run", "$other", "other", "$text", p.texts)
	args := make([]string, len(c.words))
	for i, w := range c.words {
		args[i] = fill.Replace(w)
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(p.root, "cache"), "GIMBAL_KERNEL="+p.tier,
		"GOMAXPROCS="+strconv.Itoa(max(1, c.procs)), "NO_COLOR=1")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if c.end != byItself {
		if err = endAt(cmd.Process, c, filepath.Join(dir, "run", "log.jsonl"), ended); err != nil {
			return 0, nil, fmt.Errorf("%w\n%s", err, &said)
		}
	} else {
		err = <-ended
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, nil, err
	}
	if ctx.Err() != nil {
		return 0, nil, fmt.Errorf("%w\n%s", ctx.Err(), &said)
	}
	return cmd.ProcessState.ExitCode(), out.Bytes(), nil
}

// endAt sends a process its signal when the log has come to the step, and waits for its end.
func endAt(process *os.Process, c command, log string, ended chan error) error {
	signal := map[ending]os.Signal{killed: syscall.SIGKILL, interrupted: syscall.SIGINT}[c.end]
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err
			return errEarly
		case <-tick.C:
			if lastStep(log) < c.at {
				continue
			}
			if err := process.Signal(signal); err != nil {
				return errEarly
			}
			<-ended
			return nil
		}
	}
}

var stepOf = regexp.MustCompile(`"kind":"step","step":(\d+),`)

// lastStep is the last step in a log, which may not be there yet.
func lastStep(path string) int64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	all := stepOf.FindAllSubmatch(raw, -1)
	if all == nil {
		return 0
	}
	step, err := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
	if err != nil {
		return 0
	}
	return step
}
