package wire

import (
	"bytes"
	"io"
	"reflect"
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
	a := Answer{ID: 3, Devices: []Device{{Kind: "x", Limit: 5}}, Memory: Footprint{Code: 1, Out: -1}}
	if err := Write(&pipe, a); err != nil {
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
