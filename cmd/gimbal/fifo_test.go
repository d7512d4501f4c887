//go:build unix

package main

import (
	"syscall"
	"testing"
)

// A pipe that nobody writes to is refused wherever a file is named, and does not block.
func TestNoPipeBlocks(t *testing.T) {
	texts(t, 30)
	if err := syscall.Mkfifo("pipe", 0o666); err != nil {
		t.Skip("no named pipes here")
	}
	train := append([]string{"train", "--data", "texts", "--steps", "2"}, smallest...)
	gimbals(t, 0, append(train, "--out", "run")...)
	for _, c := range []struct {
		code int
		line []string
	}{
		{2, []string{"train", "--config", "pipe"}}, {2, []string{"doctor", "pipe"}},
		{2, append(train, "--out", "pipe")}, {5, append(train, "--out", "x", "--from", "pipe")},
		{1, []string{"train", "--data", "texts", "--steps", "2", "--set", "tokenizer.path=pipe"}},
		{2, append(train, "--out", "y", "--set", "judge.encoder=pipe")}, {4, []string{"data", "stats", "--data", "pipe"}},
		{5, []string{"sample", "pipe"}}, {5, []string{"why", "pipe"}}, {5, []string{"resume", "pipe"}},
		{5, []string{"export", "pipe", "z"}}, {5, []string{"import", "pipe"}}, {5, []string{"runs", "rm", "pipe", "-y"}},
		{5, []string{"compare", "run", "pipe"}}, {5, []string{"review", "pipe"}}, {5, []string{"runs", "list", "pipe"}},
	} {
		gimbals(t, c.code, c.line...)
	}
}
