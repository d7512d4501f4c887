package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/hub"
	"gimbal/internal/measure"
	"gimbal/internal/rundir"
	"gimbal/internal/runs"
)

// What lies beside the checkpoints of a run is compared with what the state recorded before anything is decided. Where
// it is damaged or lost the error names the file and says what to do, and doing that mends the run.
func TestCompanions(t *testing.T) {
	cfg := tiny(t)
	whole := finished(t, cfg, Options{}).Dir
	cut := func(keep func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:keep(len(b))] }
	}
	newest := filepath.Join(rundir.Checkpoints, "step-12")
	conf := filepath.Join(newest, rundir.ConfigCopy)
	tok := filepath.Join(newest, rundir.TokenizerFile)
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte // nil: it is lost
		want   string
		mend   string // file to copy over it
	}{
		"config cut short": {rundir.ConfigFile, func(b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)/3], '\n')+1]
		}, "cut short", conf},
		"config cut in a line": {rundir.ConfigFile, func(b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)/3], '\n')+3]
		}, "not TOML", conf},
		"config cut at its last line": {rundir.ConfigFile, func(b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
		}, "cut short: judge.encoder", conf},
		"config emptied": {rundir.ConfigFile, cut(func(int) int { return 0 }), "config.toml: empty: copy", conf},
		"config lost":    {rundir.ConfigFile, nil, "no such file", conf},
		"log lost":       {rundir.LogFile, nil, "no such file", ""},
		"log emptied":    {rundir.LogFile, cut(func(int) int { return 0 }), "it has 0 bytes, but", ""},
		"log truncated":  {rundir.LogFile, cut(func(n int) int { return n / 2 }), "bytes, but", ""},
		"log line removed": {rundir.LogFile, func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] },
			"log.jsonl", ""},
		"log digit altered": {rundir.LogFile, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"loss":`),
				[]byte(`"loss":1`), 1)
		}, "are not those", ""},
		"tokenizer changed": {rundir.TokenizerFile, func(b []byte) []byte { return append(b, '\n') },
			"not the tokenizer", tok},
		"tokenizer lost": {rundir.TokenizerFile, nil, "no such file", tok},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, c.file)
			raw, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			if c.change == nil {
				err = os.Remove(at)
			} else {
				err = os.WriteFile(at, c.change(bytes.Clone(raw)), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
			names := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, rundir.ErrResume) || !strings.Contains(err.Error(), c.want) ||
					!strings.Contains(err.Error(), filepath.Base(at)) {
					t.Errorf("%s: %v, want %q", what, err, c.want)
				}
				if c.mend != "" && !strings.Contains(err.Error(), "copy "+filepath.Join(dir, c.mend)+" over it") {
					t.Errorf("%s does not say what to do: %v", what, err)
				}
			}
			_, err = Resume(context.Background(), dir, ResumeOptions{})
			names("resume", err)
			_, err = CheckRun(context.Background(), dir, ResumeOptions{})
			names("check", err)
			if c.file != rundir.ConfigFile || c.change != nil { // without one it counts as imported, and names its data
				_, err = measure.Measure(context.Background(), dir, measure.Options{LossOnly: true,
					Note: func(string) {}})
				names("eval", err)
			}
			m, err := hub.OpenModel(dir, "") // it writes texts all the same
			if err != nil {
				t.Fatal(err)
			}
			names("sample", fmt.Errorf("%w%s", rundir.ErrResume, m.Notes))
			m.Close()
			if c.file != rundir.TokenizerFile && !strings.Contains(name, "altered") && !strings.Contains(name,
				"line removed") {
				if r := runs.Read(dir); !strings.Contains(r.Detail, c.file) {
					t.Errorf("runs: %q", r.Detail)
				}
			}
			from := filepath.Join(dir, c.mend)
			if c.mend != "" {
				if raw, err = os.ReadFile(from); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(at, raw, 0o666); err != nil {
				t.Fatal(err)
			}
			if r, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil || r.Reason != "already done" {
				t.Errorf("mended: %+v, %v", r, err)
			}
		})
	}
}

// A line behind the newest checkpoint that is not what was written is recorded by the next resume, once.
func TestAlteredTail(t *testing.T) {
	dir := finished(t, tiny(t), Options{}).Dir
	name := filepath.Join(dir, rundir.LogFile)
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(raw, []byte(`"reason":"done"`))
	if err := os.WriteFile(name, append(raw[:at:at], bytes.Replace(raw[at:], []byte("done"), []byte("gone"), 1)...),
		0o666); err != nil {
		t.Fatal(err)
	}
	if r := runs.Read(dir); !strings.Contains(r.Detail, "altered") {
		t.Errorf("runs: %q", r.Detail)
	}
	for steps := int64(14); steps <= 16; steps += 2 {
		if _, err := Resume(context.Background(), dir, ResumeOptions{Steps: steps}); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(name)
		if n := bytes.Count(log, []byte(`"F-LOG-ALTERED"`)); n != 1 || err != nil {
			t.Errorf("recorded %d times, %v", n, err)
		}
	}
}
