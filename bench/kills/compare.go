package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// varying is what a report has otherwise where the run was interrupted, or lies elsewhere.
var varying = regexp.MustCompile(` in attempt \d+|(?m)^- P-.*\n|s3://\S+`)

// compare says how what was killed differs from what was not.
func compare(alone, killed string, tool bool) (wrong []string) {
	differs := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if tool {
		for _, pair := range [][2]string{{alone, killed}, {killed, alone}} {
			filepath.WalkDir(pair[0], func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				name, _ := filepath.Rel(pair[0], path)
				if !sameFile(path, filepath.Join(pair[1], name)) {
					differs("%s differs", name)
				}
				return nil
			})
		}
		return wrong
	}
	kept := func(dir string) (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
		if err != nil {
			differs("%v", err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	want, got := fmt.Sprint(kept(alone)), fmt.Sprint(kept(killed))
	if got != want {
		differs("kept %s, want %s", got, want)
	}
	for _, step := range kept(alone) {
		for _, name := range []string{"model.safetensors", "optimizer.safetensors", "health.json"} {
			at := filepath.Join("checkpoints", step, name)
			if strings.HasPrefix(step, "step-") && !sameFile(filepath.Join(alone, at), filepath.Join(killed, at)) {
				differs("%s differs", at)
			}
		}
	}
	if at := filepath.Join("checkpoints", "marks.json"); !sameFile(filepath.Join(alone, at),
		filepath.Join(killed, at)) {
		differs("marks differ")
	}
	var logs [2]*runlog.Log
	slow := false
	for i, dir := range []string{alone, killed} {
		var err error
		if logs[i], err = runlog.Read(durable.OS, filepath.Join(dir, "log.jsonl")); err != nil {
			differs("%v", err)
			return wrong
		}
		for _, e := range runlog.All[runlog.Event](logs[i]) {
			slow = slow || strings.HasPrefix(e.Code, "F-")
		}
	}
	if err := runlog.Identical(logs[0], logs[1]); err != nil {
		differs("%v", err)
	}
	if ends := runlog.All[runlog.End](logs[1]); len(ends) == 0 || ends[len(ends)-1].Reason != "done" {
		differs("its log has no end")
	}
	report := func(dir string) string {
		raw, err := os.ReadFile(filepath.Join(dir, "report.md"))
		if err != nil {
			differs("%v", err)
		}
		text := strings.ReplaceAll(string(raw), filepath.Base(dir), "RUN")
		return varying.ReplaceAllString(strings.ReplaceAll(text, filepath.Dir(dir), ""), "")
	}
	if a, b := report(alone), report(killed); a != b && !slow { // a slow disk is an event, and in the report
		as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
		for i := range min(len(as), len(bs)) {
			if as[i] != bs[i] {
				differs("report: %q, want %q", bs[i], as[i])
				break
			}
		}
		if len(as) != len(bs) {
			differs("report: %d lines, want %d", len(bs), len(as))
		}
	}
	return wrong
}

func sameFile(a, b string) bool {
	x, err := os.ReadFile(a)
	if err != nil {
		return false
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y)
}

// litter lists what killed processes left.
func litter(dir string) (left []string) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if strings.HasPrefix(e.Name(), durable.TempPrefix) || strings.HasSuffix(e.Name(), ".old") {
			left = append(left, "left: "+path)
		}
		return nil
	})
	return left
}
