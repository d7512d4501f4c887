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

// run runs the commands of a scenario and returns what they left. A scenario that was begun before takes the run that
// is packed in begun; nil: its first command makes one.
func (p place) run(ctx context.Context, s scenario, begun []byte) (o outcome, err error) {
	for range 3 {
		if o, err = p.try(ctx, s, begun); !errors.Is(err, errEarly) {
			break
		}
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", s.name, err)
	}
	return o, nil
}

func (p place) try(ctx context.Context, s scenario, begun []byte) (o outcome, err error) {
	dir, err := os.MkdirTemp(p.root, strings.Map(fileLetter, s.name)+"-")
	if err != nil {
		return o, err
	}
	if !p.keep {
		defer os.RemoveAll(dir)
	}
	began := time.Now()
	t := trial{place: p, bin: p.shipped, dir: dir, clean: cleaner{roots: []string{dir, p.texts}}}
	if s.planted {
		t.bin = p.planted
	}
	run := filepath.Join(dir, "run")
	commands := s.commands
	if begun != nil {
		t.Exits, commands = []string{"train 0"}, commands[1:]
		if err := unpack(begun, run); err != nil {
			return o, err
		}
	}
	for i, cmd := range commands {
		if err := t.call(ctx, cmd); err != nil {
			return o, err
		}
		if i == 0 && s.old && begun == nil {
			if begun, err = pack(run); err != nil {
				return o, err
			}
		}
	}
	for _, last := range []struct{ word, needs string }{{"eval", "checkpoints"}, {"why", "log.jsonl"}} {
		if _, err := os.Stat(filepath.Join(run, last.needs)); err != nil {
			continue // the run was refused
		}
		if err := t.call(ctx, told(last.word, "$run", "--json")); err != nil {
			return o, err
		}
	}
	if err := t.read(t.clean, run); err != nil {
		return o, err
	}
	if o = t.outcome; s.cut {
		o = o.core()
	}
	if s.old {
		o.Begun = begun
	}
	o.Seconds = time.Since(began).Seconds()
	return o, nil
}

// fileLetter keeps what may stand in a file's name.
func fileLetter(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// trial is a scenario that is run.
type trial struct {
	place
	dir   string
	bin   string // the binary that the scenario needs
	clean cleaner
	outcome
}

// call runs a command, and keeps its exit code and the JSON that it prints.
func (t *trial) call(ctx context.Context, c command) error {
	code, out, err := t.start(ctx, c)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(c.words, " "), err)
	}
	name := c.words[0]
	t.Exits = append(t.Exits, fmt.Sprintf("%s %d", name, code))
	if !c.record || len(bytes.TrimSpace(out)) == 0 {
		return nil
	}
	for n := 2; t.Documents[name] != nil; n++ {
		name = fmt.Sprintf("%s-%d", c.words[0], n)
	}
	return t.document(t.clean, name, out)
}

// start runs one command to its end, or ends it when its log has come far enough.
func (t *trial) start(ctx context.Context, c command) (code int, stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	fill := strings.NewReplacer("$run", "run", "$other", "other", "$text", t.texts)
	args := make([]string, len(c.words))
	for i, w := range c.words {
		args[i] = fill.Replace(w)
	}
	cmd := exec.CommandContext(ctx, t.bin, args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(t.root, "cache"), "GIMBAL_KERNEL="+t.tier,
		"GOMAXPROCS="+strconv.Itoa(max(1, c.procs)))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if c.end != byItself {
		if err = endAt(cmd.Process, c, filepath.Join(t.dir, "run", "log.jsonl"), ended); err != nil {
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
