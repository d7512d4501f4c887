package train

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"gimbal/internal/exit"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

const copySecret = "do-not-tell-anybody"

// storage serves S3 in this process. It makes buckets by itself, or has none.
func storage(t *testing.T, buckets bool) {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	h := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(buckets)).Server())
	t.Cleanup(h.Close)
	for key, value := range map[string]string{"AWS_ENDPOINT_URL": h.URL, "AWS_ENDPOINT_URL_S3": "",
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": copySecret,
		"AWS_SESSION_TOKEN": ""} {
		t.Setenv(key, value)
	}
}

// A run whose machine is lost goes on from its copy, elsewhere, and is the same run; a copy of a run that is done is
// that run.
func TestResumeFromTheCopy(t *testing.T) {
	storage(t, true)
	const copyOf = "s3://bucket/runs/one"
	cfg := tiny(t, "checkpoint.every=2", "checkpoint.keep=3", "eval.every=4")
	whole := finished(t, cfg, Options{}).Dir
	if err := cfg.SetPlanned("checkpoint.mirror", copyOf, "test"); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, lost, 7, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: lost, Hooks: h})
		return err
	})
	if err := os.RemoveAll(lost); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "other", "run")
	r, err := Resume(context.Background(), copyOf, ResumeOptions{Out: dir})
	if err != nil || r.Step != 12 {
		t.Fatalf("%+v, %v", r, err)
	}
	sameRun(t, whole, dir, 12)
	again := filepath.Join(t.TempDir(), "run")
	r, err = Resume(context.Background(), copyOf, ResumeOptions{Out: again})
	if err != nil || r.Reason != "already done" {
		t.Fatalf("%+v, %v", r, err)
	}
	a, b := derivedOf(t, dir), derivedOf(t, again)
	if a.end != b.end || a.report != b.report || !slices.Equal(a.kept, b.kept) || len(a.marks) != len(b.marks) {
		t.Errorf("%+v\n%+v", a, b)
	}
	if _, err := Resume(context.Background(), copyOf+"x", ResumeOptions{Out: again + "x"}); exit.Of(err) != 5 {
		t.Errorf("where no copy is: %v", err)
	}
	if _, err := os.Stat(again + "x"); err == nil {
		t.Error("it made a directory")
	}
}

// A copy that cannot be made is an event, and the run is the same.
func TestCopyFails(t *testing.T) {
	storage(t, false)
	cfg := tiny(t, "checkpoint.every=2")
	whole := finished(t, cfg, Options{}).Dir
	if err := cfg.SetPlanned("checkpoint.mirror", "s3://bucket/runs/one", "test"); err != nil {
		t.Fatal(err)
	}
	var notes []string
	r := finished(t, cfg, Options{Hooks: Hooks{Note: func(text string) { notes = append(notes, text) }}})
	sameRun(t, whole, r.Dir, 12)
	got := runlog.All[runlog.Event](readLog(t, r.Dir))
	if len(got) > 1 || len(got) == 1 && got[0].Code != "F-MIRROR-FAILED" {
		t.Errorf("events %q", got)
	}
	if !strings.Contains(strings.Join(notes, "\n"), "s3://bucket/runs/one lacks ") {
		t.Errorf("nothing is said of what is missing: %q", notes)
	}
	for _, name := range []string{rundir.LogFile, rundir.ConfigFile, rundir.ReportFile} {
		raw, err := os.ReadFile(filepath.Join(r.Dir, name))
		if err != nil || strings.Contains(string(raw), copySecret) {
			t.Errorf("%s tells a secret, or is not there: %v", name, err)
		}
	}
}

// A run goes on to be copied to a place that this user has named. A run from elsewhere could name any.
func TestPlacesOfCopiesAreNamed(t *testing.T) {
	storage(t, true)
	const place = "s3://bucket/runs/one"
	cfg := tiny(t, "checkpoint.every=2", "checkpoint.mirror="+place)
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 3, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	resume := func(steps int64, opt ResumeOptions) string {
		t.Helper()
		var notes []string
		opt.Steps, opt.Hooks.Note = steps, func(text string) { notes = append(notes, text) }
		if r, err := Resume(context.Background(), dir, opt); err != nil || r.Step != steps {
			t.Fatalf("%+v, %v", r, err)
		}
		return strings.Join(notes, "\n")
	}
	if said := resume(12, ResumeOptions{}); !strings.Contains(said, "copying the run to "+place) {
		t.Errorf("who began the run must name its copy again: %s", said)
	}
	t.Setenv("XDG_STATE_HOME", t.TempDir()) // of somebody else
	if said := resume(14, ResumeOptions{}); !strings.Contains(said, "resume it with --mirror "+place) ||
		strings.Contains(said, "copying") {
		t.Errorf("the place of a stranger is used: %s", said)
	}
	if said := resume(16, ResumeOptions{Mirror: place}); !strings.Contains(said, "copying the run to "+place) {
		t.Errorf("a place that is named is not used: %s", said)
	}
	if said := resume(18, ResumeOptions{}); !strings.Contains(said, "copying the run to "+place) {
		t.Errorf("a place must be named twice: %s", said)
	}
	other := filepath.Join(t.TempDir(), "other")
	if r, err := Resume(context.Background(), place, ResumeOptions{Out: other}); err != nil || r.Step != 18 {
		t.Errorf("the copy is at %+v, %v", r, err)
	}
}
