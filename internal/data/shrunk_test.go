//go:build linux

package data

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/par"
	"gimbal/internal/tokenizer"
)

// reads reads the set, in one share of a pool.
type reads struct{ s *Set }

func (r reads) Part(int, int, int) {
	for ids := range r.s.Train(1 << 20).Labels() {
		_ = ids[len(ids)-1]
	}
}

// A file that got shorter while it is mapped is an error that names it, in every goroutine that reads tokens: that of
// the caller, a worker of a pool, and one of its own.
func TestShrunkFileIsNamed(t *testing.T) {
	text := write(t, t.TempDir(), "a.txt", strings.Repeat("some words of a text ", 1000))
	docs := discover(t, corpus.Options{}, text)
	s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := filepath.Join(s.Dir, "tokens-00000.bin")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	named := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, durable.ErrShrunk) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	catch := func(do func()) (err error) {
		defer CatchShrunk(debug.SetPanicOnFault(true), &err)
		do()
		return nil
	}
	named("the caller", catch(func() { reads{s}.Part(0, 0, 1) }))
	pool := par.New(3)
	defer pool.Close()
	named("a worker", catch(func() { pool.Do(3, 1, reads{s}) }))
	values := make(chan any, 1)
	par.OnPanic = func(v any, _ []byte) { values <- v }
	defer func() { par.OnPanic = nil }()
	go par.Guard(func() { reads{s}.Part(0, 0, 1) })()
	named("a goroutine", durable.Shrunk(<-values))
	if durable.Shrunk(errors.New("x")) != nil || durable.Shrunk("x") != nil {
		t.Error("another panic counts as one")
	}
}
