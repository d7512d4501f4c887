package device

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gimbal/internal/graph"
	"gimbal/internal/model"
)

// wrong is a session that makes a mistake in one program: the compiled one of a name with the given number, from 0.
type wrong struct {
	Session
	name    string
	number  int
	change  func(in []Array) []Array
	out     func(dst []byte)
	bad     int64          // the program
	results map[int64]bool // of it
}

func (s *wrong) Compile(ctx context.Context, p graph.Program) (*Executable, error) {
	x, err := s.Session.Compile(ctx, p)
	if err == nil && p.Name == s.name {
		if s.number == 0 {
			s.bad, s.results = x.ID, map[int64]bool{}
		}
		s.number--
	}
	return x, err
}

func (s *wrong) Run(ctx context.Context, x *Executable, in []Array) ([]Array, error) {
	if x.ID == s.bad && s.change != nil {
		in = s.change(in)
	}
	out, err := s.Session.Run(ctx, x, in)
	for _, a := range out {
		if x.ID == s.bad {
			s.results[a.ID] = true
		}
	}
	return out, err
}

func (s *wrong) Fetch(ctx context.Context, a Array, device int, dst []byte) error {
	err := s.Session.Fetch(ctx, a, device, dst)
	if s.out != nil && s.results[a.ID] {
		s.out(dst)
	}
	return err
}

// Multiplies of devices agree with plain Go, and one wrong element is found.
func TestSelfTest(t *testing.T) {
	o := on(t, 2).(*opener)
	for _, mode := range []string{model.ModeFP32, model.ModeBF16} {
		if text := o.SelfTest(spec(shapes[0], mode, false)); text != "" {
			t.Errorf("%s: %s", mode, text)
		}
	}
	bad := New(&wrong{Session: o.session, name: "multiplies", out: func(dst []byte) {
		dst[4*3+2] ^= 0x40
	}}, o.options)
	text := bad.SelfTest(spec(shapes[0], model.ModeFP32, false))
	if !strings.Contains(text, "element (0, 3) of x·Wᵀ is") {
		t.Errorf("%q", text)
	}
}

// Attention in blocks is taken where it agrees with plain attention, and is not where sequences see their neighbours.
func TestAttentionIsTested(t *testing.T) {
	var notes []string
	o := on(t, 1).(*opener)
	options := EngineOptions{Devices: 1, Attention: graph.Blocks, Note: func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf(format, args...))
	}}
	c := cpu(t)
	s := spec(shapes[2], model.ModeFP32, false)
	e, w := open(t, New(o.session, options), s), open(t, c, s)
	defer e.Close()
	if a := e.(*deviceEngine).pass.Attention; a != graph.Blocks || len(notes) != 1 ||
		!strings.HasPrefix(notes[0], "attention: blocks") {
		t.Errorf("attention %s, %q", a, notes)
	}
	if d := apart(train(t, e, 1, 3), train(t, w, 1, 3)); d > 1e-6 {
		t.Errorf("losses are %v apart", d)
	}
	var zero Array // segments that are all the same: a sequence sees its neighbours
	bad := &wrong{Session: o.session, name: "gradient", number: 1, change: func(in []Array) []Array {
		at := len(in) - 3
		var err error
		if zero, err = o.session.Upload(t.Context(), in[at].Shape, 1, make([]byte, in[at].Bytes())); err != nil {
			t.Fatal(err)
		}
		return append(append(in[:at:at], zero), in[at+1:]...)
	}}
	e = open(t, New(bad, options), s)
	defer e.Close()
	a := e.(*deviceEngine).pass.Attention
	if zero.ID == 0 || a != graph.Plain || !strings.Contains(notes[1], "is not used") {
		t.Errorf("attention %s, %q", a, notes)
	}
}
