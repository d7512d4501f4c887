//go:build linux

package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gimbal/internal/device/wire"
	"gimbal/internal/graph"
)

// TestBadPlugins opens plugins that crash, hang or lie. Each is an error with a name, and a session works afterwards.
func TestBadPlugins(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler builds the plugins")
	}
	for _, c := range []struct {
		name, want string
		lost       bool
	}{
		{"CRASH", `it printed last: about to \x1b[31mcrash | SIGSEGV: segmentation violation`, true},
		{"THREAD", "signal", true},
		{"ABORT", "Check failed: x == y", true},
		{"HANG", "no answer within 2s", true},
		{"EXIT", "exit status 7", true},
		{"LIES", "it ended: ", true},
		{"SMALL", "no function PJRT_Client_Create: its interface 0.90 states a size of 72 bytes", false},
		{"MAJOR", "version 1.90 of the interface", false},
		{"NOAPI", "no function GetPjrtApi", false},
		{"text", "not a shared library", false},
		{"missing", "not a shared library", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.so")
			switch c.name {
			case "missing":
			case "text":
				if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
					t.Fatal(err)
				}
			default:
				build := exec.Command(cc, "-shared", "-fPIC", "-pthread", "-D"+c.name, "-o", path, "testdata/bad.c")
				if out, err := build.CombinedOutput(); err != nil {
					t.Skipf("the C compiler builds no plugin: %v %s", err, out)
				}
			}
			o := testOptions(t, path, 1)
			o.Limit = 2 * time.Second
			_, err := Open(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "open "+path) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if errors.Is(err, ErrLost) != c.lost {
				t.Errorf("lost: %v", !c.lost)
			}
			if list := os.Getenv("PJRT_PLUGIN"); list != "" {
				testTwice(t, openTest(t, 1))
			}
		})
	}
}

// peers are programs in place of gimbal-device. The test binary is one where testPeer is in its environment.
const testPeer = "GIMBAL_TEST_PEER"

var peers = map[string]func(r wire.Request) wire.Answer{
	"protocol": func(wire.Request) wire.Answer { return wire.Answer{Protocol: wire.Protocol + 1, Build: wire.Build()} },
	"build":    func(wire.Request) wire.Answer { return wire.Answer{Protocol: wire.Protocol, Build: "v9 \x1b[31m"} },
	"garbage": func(wire.Request) wire.Answer {
		_, _ = os.NewFile(wire.AnswersFD, "answers").WriteString("\x05\x00\x00\x00hello")
		return wire.Answer{}
	},
	"long": func(wire.Request) wire.Answer {
		_, _ = os.NewFile(wire.AnswersFD, "answers").WriteString("\xff\xff\xff\xff")
		return wire.Answer{}
	},
	"silent": func(wire.Request) wire.Answer { time.Sleep(time.Minute); return wire.Answer{} },
	"slow": func(r wire.Request) wire.Answer {
		a := wire.Answer{Protocol: wire.Protocol, Build: wire.Build(), Devices: make([]wire.Device, 1), ID: 7}
		if r.Op == wire.Compile {
			time.Sleep(200 * time.Millisecond)
			a.ID = 5
		}
		return a
	},
	"memory": func(r wire.Request) wire.Answer {
		a := wire.Answer{Protocol: wire.Protocol, Build: wire.Build(), Devices: make([]wire.Device, 1)}
		if r.Op == wire.Compile {
			a.Bytes = 1 << 39
		}
		return a
	},
}

func init() {
	do := peers[os.Getenv(testPeer)]
	if do == nil {
		return
	}
	answers := os.NewFile(wire.AnswersFD, "answers")
	for {
		var r wire.Request
		if wire.Read(os.Stdin, &r) != nil || wire.Write(answers, do(r)) != nil {
			os.Exit(0)
		}
	}
}

func peer(t *testing.T, name string) Options {
	return Options{Plugin: "plugin.so", Helper: os.Args[0], Env: []string{testPeer + "=" + name}, Cache: t.TempDir(),
		Limit: 5 * time.Second}
}

// TestBadPeers starts programs in place of gimbal-device that are another version or make no sense.
func TestBadPeers(t *testing.T) {
	for name, want := range map[string]string{
		"protocol": "build both from one source",
		"build":    `is version v9 \x1b[31m (protocol`,
		"garbage":  "invalid character",
		"long":     "4294967295 bytes, at most",
		"silent":   "no answer within 1s",
	} {
		o := peer(t, name)
		if name == "silent" {
			o.Limit = time.Second
		}
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), o.Helper) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if lost := name != "protocol" && name != "build"; errors.Is(err, ErrLost) != lost {
			t.Errorf("%s: lost: %v", name, !lost)
		}
	}
	_, err := Open(t.Context(), Options{Helper: filepath.Join(t.TempDir(), "none")})
	if err == nil || !strings.Contains(err.Error(), "start ") {
		t.Errorf("no helper: %v", err)
	}
	s := openOptions(t, peer(t, "memory"))
	_, err = s.Compile(t.Context(), twice)
	if err == nil || !strings.Contains(err.Error(), "said to be in shared memory") {
		t.Errorf("memory that is not there: %v", err)
	}
}

// TestOtherParent is a gimbal of another version, and one that does not say: gimbal-device refuses both.
func TestOtherParent(t *testing.T) {
	helper, err := buildHelper()
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]wire.Request{
		"the other side is version v9": {Op: wire.Hello, Protocol: wire.Protocol, Build: "v9"},
		"(protocol 9)":                 {Op: wire.Hello, Protocol: 9, Build: wire.Build()},
		"before versions were":         {Op: wire.Open, Plugin: "none"},
	} {
		p := must[*process](t)(start(helper, os.Environ()))
		for _, r := range []wire.Request{r, {Op: wire.Open}} {
			_, err = p.ask(t.Context(), "ask", time.Minute, r, nil)
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrLost) {
				t.Errorf("%v, want %q", err, want)
			}
			want = "before versions were"
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestInterruptedCompile stops waiting for a program. The next call must not take the late answer for its own.
func TestInterruptedCompile(t *testing.T) {
	s := openOptions(t, peer(t, "slow"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Compile(ctx, twice); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("compile: %v", err)
	}
	if _, err := s.Upload(ctx, four, 1, make([]byte, 16)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("upload after the end of its context: %v", err)
	}
	if a, err := s.Upload(t.Context(), four, 1, make([]byte, 16)); err != nil || a.ID != 7 {
		t.Errorf("upload: array %d, %v", a.ID, err)
	}
}

// long runs for minutes.
var long = graph.Program{Name: "long", Devices: 1, In: []graph.Shape{four}, Out: []graph.Shape{four},
	Text: `module @long attributes {mhlo.num_replicas = 1 : i32} {
func.func public @main(%0: tensor<4xf32>) -> (tensor<4xf32>) {
  %n = stablehlo.constant dense<4000000000> : tensor<ui32>
  %z = stablehlo.constant dense<0> : tensor<ui32>
  %one = stablehlo.constant dense<1> : tensor<ui32>
  %r:2 = stablehlo.while(%i = %z, %x = %0) : tensor<ui32>, tensor<4xf32>
    cond {
      %c = stablehlo.compare LT, %i, %n : (tensor<ui32>, tensor<ui32>) -> tensor<i1>
      stablehlo.return %c : tensor<i1>
    } do {
      %j = stablehlo.add %i, %one : tensor<ui32>
      %y = stablehlo.sine %x : tensor<4xf32>
      stablehlo.return %j, %y : tensor<ui32>, tensor<4xf32>
    }
  return %r#1 : tensor<4xf32>
}
}
`}

// TestLost ends the process in the middle of a call: by a signal, and by the watchdog.
func TestLost(t *testing.T) {
	o := testOptions(t, plugins(t)[0], 1)
	for _, c := range []struct {
		want  string
		limit time.Duration
	}{{"it ended: signal: killed", time.Minute}, {"no answer within 1s", time.Second}} {
		s := openOptions(t, o)
		p := s.(*session)
		e := must[*Executable](t)(s.Compile(t.Context(), long))
		x := must[Array](t)(s.Upload(t.Context(), four, 1, floats(1, 2, 3, 4)))
		p.options.Limit = c.limit
		if c.limit == time.Minute {
			time.AfterFunc(300*time.Millisecond, func() { _ = p.cmd.Process.Signal(syscall.SIGKILL) })
		}
		out, err := s.Run(t.Context(), e, []Array{x})
		if err == nil {
			err = s.Fetch(t.Context(), out[0], 0, make([]byte, 16))
		}
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if _, again := s.Upload(t.Context(), four, 1, make([]byte, 16)); again != err {
			t.Errorf("the next call: %v", again)
		}
	}
	testTwice(t, openOptions(t, o))
}

// TestErrors asks for what makes no sense. The session goes on.
func TestErrors(t *testing.T) {
	s := openTest(t, 1)
	ctx := t.Context()
	bad := twice
	bad.Text = strings.Replace(bad.Text, "stablehlo.add", "stablehlo.ad", 1)
	two := twice
	two.Devices = 2
	e := must[*Executable](t)(s.Compile(ctx, twice))
	x := must[Array](t)(s.Upload(ctx, four, 1, make([]byte, 16)))
	compile := func(p graph.Program) error { _, err := s.Compile(ctx, p); return err }
	upload := func(shape graph.Shape, n int) error { _, err := s.Upload(ctx, shape, 1, make([]byte, n)); return err }
	run := func(e *Executable, in Array) error { _, err := s.Run(ctx, e, []Array{in}); return err }
	for want, do := range map[string]func() error{
		"stablehlo.ad":                          func() error { return compile(bad) },
		"2 devices are wanted, and there are 1": func() error { return compile(two) },
		"no type is called":                     func() error { return upload(graph.Shape{Type: "x"}, 0) },
		"15 bytes of data":                      func() error { return upload(four, 15) },
		"no array 999":                          func() error { return run(e, Array{ID: 999}) },
		"no program 999":                        func() error { return run(&Executable{ID: 999, Program: twice}, x) },
		"on device 1":                           func() error { return s.Fetch(ctx, x, 1, make([]byte, 16)) },
		"fetch tensor<4xf32>":                   func() error { return s.Fetch(ctx, x, 0, make([]byte, 15)) },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrLost) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	testTwice(t, s)
}

// TestEndsWithParent kills a process that has a session. Its gimbal-device must end too.
func TestEndsWithParent(t *testing.T) {
	helper, err := buildHelper()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), testParent+"="+helper)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil || syscall.Kill(child, 0) != nil {
		t.Fatalf("process %d, %v", child, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for range 500 {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil || strings.Contains(string(data), ") Z ") { // gone, or nobody has asked yet how it ended
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("gimbal-device outlives the process that started it")
}

// testParent names gimbal-device for a process that starts it, prints its number and waits to be killed.
const testParent = "GIMBAL_TEST_PARENT"

func init() {
	if helper := os.Getenv(testParent); helper != "" {
		p, err := begin(context.Background(), Options{Helper: helper, Limit: time.Minute})
		if err != nil {
			panic(err)
		}
		fmt.Println(p.cmd.Process.Pid)
		time.Sleep(time.Minute)
	}
}
