package runs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/rundir"
)

// TestReview: a mark is saved at once, and the report says it.
func TestReview(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	makeRun(t, dir)
	report := filepath.Join(dir, rundir.ReportFile)
	if before, err := os.ReadFile(report); err != nil || !strings.Contains(string(before),
		`samples/eval-2.md: nobody has marked any of the 2 texts. "gimbal review run" shows them, worst first.`) {
		t.Errorf("%s, %v", before, err)
	}
	page, err := OpenPage(dir, 0)
	check(t, err)
	// The box in the first text is one that the model wrote.
	if s := page.Sections; len(s) != 2 || s[0].Marks != nil || !strings.Contains(s[0].Text, "- [x] good") {
		t.Errorf("%+v", s)
	}
	check(t, page.Mark(1, []string{"broken", "drifting"}))
	check(t, page.Report())
	again, err := OpenPage(dir, 2)
	check(t, err)
	got := again.Sections[1].Marks
	if !slices.Equal(got, []string{"drifting", "broken"}) || again.Looked().Marked != 1 {
		t.Errorf("%q, %v", got, again.Looked())
	}
	after, err := os.ReadFile(report)
	if err != nil || strings.Contains(string(after), "nobody") || !strings.HasSuffix(string(after),
		"a person marked 1 of 2 texts: 1 drifting, 1 broken.\n\n## Plan\n\n```\n  a plan\n```\n") {
		t.Errorf("%s, %v", after, err)
	}
	if older, err := OpenPage(dir, 1); err != nil || len(older.Sections) != 1 {
		t.Errorf("%+v, %v", older, err)
	}
	_, err = OpenPage(dir, 3)
	wants(t, "the third", err, "no evaluation 3; the newest is 2")
}

// TestReviewWithoutReport: the marks of a run that crashed are kept, and where a report is no report it is left alone.
func TestReviewWithoutReport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	makeRun(t, dir)
	report := filepath.Join(dir, rundir.ReportFile)
	check(t, os.Remove(report))
	page, err := OpenPage(dir, 0)
	check(t, err)
	check(t, page.Mark(0, []string{"good"}))
	check(t, page.Report())
	if _, err := os.Stat(report); err == nil {
		t.Error("there is a report now")
	}
	write(t, report, "torn")
	if err := page.Report(); err == nil || !strings.Contains(err.Error(), "no section") {
		t.Error(err)
	}
	if raw, err := os.ReadFile(report); err != nil || string(raw) != "torn" {
		t.Errorf("%s, %v", raw, err)
	}
}
