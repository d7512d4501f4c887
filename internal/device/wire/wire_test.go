package wire

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	want := []Request{
		{Op: Hello, Protocol: 3, Build: "v1"},
		{Op: Open, Plugin: "p", Options: []Option{{Name: "a", Text: "b"}, {Name: "c", Ints: []int64{0, 1}}}},
		{Op: Run, ID: 1 << 62, In: []int64{1, 2}},
	}
	var pipe bytes.Buffer
	for _, r := range want {
		if err := Write(&pipe, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range want {
		var r Request
		if err := Read(&pipe, &r); err != nil || !reflect.DeepEqual(r, w) {
			t.Errorf("read %+v, %v; want %+v", r, err, w)
		}
	}
	if err := Read(&pipe, new(Request)); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	if err := Write(io.Discard, Request{Build: strings.Repeat("x", MaxMessage)}); err == nil {
		t.Error("a message that is too long was written")
	}
	for in, want := range map[string]string{
		"\x01":                 "unexpected EOF",
		"\x05\x00\x00\x00{}":   "after 2 of 5 bytes",
		"\xff\xff\xff\xff{}":   "at most",
		"\x02\x00\x00\x00[]":   "cannot unmarshal",
		"\x02\x00\x00\x00\x00": "after 1 of 2",
	} {
		if err := Read(strings.NewReader(in), new(Request)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

// FuzzRead reads messages that nobody wrote. What can be read can be written and read again.
func FuzzRead(f *testing.F) {
	var pipe bytes.Buffer
	if err := Write(&pipe, Answer{ID: 3, Devices: []Device{{Kind: "x", Limit: 5}}, Memory: []int64{1, -1}}); err != nil {
		f.Fatal(err)
	}
	f.Add(pipe.Bytes())
	f.Add([]byte("\xff\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var a, b Answer
		if Read(bytes.NewReader(in), &a) != nil {
			return
		}
		var pipe bytes.Buffer
		if err := Write(&pipe, a); err != nil {
			t.Fatal(err)
		}
		if err := Read(&pipe, &b); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is shared on Linux only")
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mine, other := Share(f), Share(f)
	for _, n := range []int64{0, 5, 1 << 20, 1<<20 + 1, 100, 3 << 20} {
		p, err := mine.Make(n)
		if err != nil || int64(len(p)) != n {
			t.Fatalf("%d bytes: %d, %v", n, len(p), err)
		}
		if n == 0 {
			continue
		}
		p[n-1] = byte(n / 5)
		if q, err := other.Take(n); err != nil || q[n-1] != byte(n/5) {
			t.Errorf("%d bytes: the other side reads %v", n, err)
		}
	}
	for _, n := range []int64{-1, 3<<20 + 1, 1 << 39, 1 << 62} {
		if _, err := other.Take(n); err == nil {
			t.Errorf("%d bytes could be taken", n)
		}
	}
	for _, m := range []*Memory{mine, other} {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
