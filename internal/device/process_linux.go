package device

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gimbal/internal/device/wire"
)

// helperName is the program that owns devices.
const helperName = "gimbal-device"

// helper finds gimbal-device: named by the user, beside this program, or in PATH.
func helper(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if named = os.Getenv("GIMBAL_DEVICE"); named != "" {
		return named, nil
	}
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			named = filepath.Join(filepath.Dir(self), helperName)
			if info, err := os.Stat(named); err == nil && info.Mode().IsRegular() {
				return named, nil
			}
		}
	}
	if named, err := exec.LookPath(helperName); err == nil {
		return named, nil
	}
	return "", fmt.Errorf("%s was not found beside this program or in PATH: build it with "+
		"`CGO_ENABLED=0 go build ./cmd/%s` and put it there, or name it with GIMBAL_DEVICE", helperName, helperName)
}

// process is a running gimbal-device.
type process struct {
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	in      *os.File      // requests
	out     *os.File      // answers
	answers chan reply
	file    *os.File // of the shared memory
	memory  *wire.Memory
	stderr  *tail
	freed   []int64  // arrays to be freed by the next request
	owed    *request // nil: all are answered
	failure error    // why no request is possible any more
}

// start starts gimbal-device at path.
func start(path string, env []string) (_ *process, err error) {
	p := &process{answers: make(chan reply, 2), ended: make(chan struct{}), stderr: new(tail)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.file, err = sharedFile(); err != nil {
		return nil, err
	}
	p.memory = wire.Share(p.file)
	requests, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer requests.Close()
	out, answers, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	defer answers.Close()
	p.in, p.out = in, out
	cmd := exec.Command(path, wire.Argument)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = requests, p.stderr, p.stderr
	cmd.ExtraFiles = []*os.File{wire.MemoryFD - 3: p.file, wire.AnswersFD - 3: answers}
	cmd.WaitDelay = time.Second
	// It ends with this process, and interrupts of a terminal do not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the process would end with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err == nil {
			_ = cmd.Wait() // its state tells
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w (a system without glibc cannot start it)", err)
	}
	p.cmd = cmd
	go func() {
		for r := bufio.NewReader(out); ; {
			var a reply
			a.err = wire.Read(r, &a.Answer)
			p.answers <- a
			if a.err != nil {
				return
			}
		}
	}()
	return p, nil
}

// sharedFile makes a file in memory. Nobody can make it shorter, so that what is mapped stays there.
func sharedFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("gimbal-device", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "shared memory")
	_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	return f, os.NewSyscallError("fcntl", err)
}

// reply is an answer, or why none came.
type reply struct {
	wire.Answer
	err error
}

// ask sends a request with data, of which r.Bytes are shared, and waits for the answer. what says what is done, for
// errors. Where ctx ends it stops waiting; the next request then waits for that answer first.
func (p *process) ask(ctx context.Context, what string, limit time.Duration, r wire.Request, data []byte) (
	a wire.Answer, err error) {
	if p.failure != nil {
		return a, p.failure
	}
	if p.owed != nil {
		if _, err = p.owed.wait(ctx); err != nil {
			return a, err
		}
	}
	place, err := p.memory.Make(r.Bytes)
	if err != nil {
		return a, fmt.Errorf("%s: %w", what, err)
	}
	copy(place, data)
	r.Free, p.freed = p.freed, nil
	p.owed = &request{p, what, limit, time.Now().Add(limit)}
	if err = errors.Join(p.in.SetWriteDeadline(p.owed.deadline), wire.Write(p.in, r)); err != nil {
		return a, p.owed.lose(err)
	}
	if a, err = p.owed.wait(ctx); err == nil && a.Error != "" {
		err = failed(r.Op, what, a)
	}
	return a, err
}

// failed is the error of an answer.
func failed(op wire.Op, what string, a wire.Answer) error {
	err := fmt.Errorf("%s: %s", what, clean(a.Error))
	switch a.Code { // of absl::StatusCode
	case 8: // resource exhausted
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case 10, 13, 14, 15: // aborted, internal, unavailable, data loss
		if op == wire.Run || op == wire.Fetch || op == wire.Upload {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
	return err
}

// request is one that was sent and has no answer yet.
type request struct {
	*process
	what     string
	limit    time.Duration
	deadline time.Time
}

func (r *request) wait(ctx context.Context) (wire.Answer, error) {
	timer, late := time.NewTimer(time.Until(r.deadline)), false
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return wire.Answer{}, ctx.Err()
		case <-timer.C:
			if late {
				return wire.Answer{}, r.lose(os.ErrDeadlineExceeded)
			}
			late = true // where this process was stopped for a while, the answer is there
			timer.Reset(time.Second)
		case a := <-r.answers:
			if a.err != nil {
				return wire.Answer{}, r.lose(a.err)
			}
			r.owed = nil
			return a.Answer, nil
		}
	}
}

// lose ends the process, which did not answer, and returns why it is lost.
func (p *request) lose(err error) error {
	ended := p.end(0)
	why := clean(err.Error())
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		why = fmt.Sprintf("no answer within %v", p.limit)
	case ended && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)):
		why = "it ended: " + p.cmd.ProcessState.String()
	}
	p.failure = fmt.Errorf("%w: %s: %s%s", ErrLost, p.what, why, p.stderr)
	return p.failure
}

// end kills the process where it does not end by itself in time, and reports whether it has ended. One that waits for a
// driver cannot be killed.
func (p *process) end(patience time.Duration) bool {
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() }) // nothing happens to one that has ended
	defer kill.Stop()
	select {
	case <-p.ended:
		return true
	case <-time.After(patience + 5*time.Second):
		return false
	}
}

// close ends the process. It may have failed or never started.
func (p *process) close() error {
	var errs []error
	for _, f := range []*os.File{p.in, p.out} {
		if f != nil { // the process ends where its input does
			errs = append(errs, f.Close())
		}
	}
	if p.cmd != nil {
		p.end(2 * time.Second)
	}
	if p.file != nil {
		errs = append(errs, p.memory.Close(), p.file.Close())
	}
	p.failure = errors.New("the session is closed")
	return errors.Join(errs...)
}
