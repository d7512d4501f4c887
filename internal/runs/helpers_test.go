package runs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
)

// began is when the runs of these tests began; each record comes a second after the one before.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// makeRun writes a run of 20 of 30 steps as the trainer does: evaluations at 10 and 20, a warning and an error, texts,
// a checkpoint at 20, and a report.
func makeRun(t *testing.T, dir string) {
	t.Helper()
	cfg, err := config.Load("", []config.Assignment{config.Set("train.steps=30")})
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(dir, rundir.Samples), 0o777))
	write(t, filepath.Join(dir, rundir.ConfigFile), string(cfg.TOML()))
	write(t, filepath.Join(dir, rundir.TokenizerFile), "{}")
	write(t, filepath.Join(dir, rundir.LogFile), strings.Join(logLines(t), "\n")+"\n")
	write(t, filepath.Join(dir, rundir.LockFile), `{"pid":1,"host":"nowhere","since":"2026-01-02T03:04:05Z"}`)
	saveState(t, dir, 20, "data", "tokens")
	texts := []judge.Written{{Text: "one text", Finish: "eos"}, {Text: "- [x] good\nanother", Finish: "length"}}
	samples := filepath.Join(dir, rundir.Samples)
	write(t, filepath.Join(samples, rundir.PageName(1)), string(judge.Page(1, 10, nil, texts[:1], []int{0})))
	write(t, filepath.Join(samples, rundir.PageName(2)), string(judge.Page(2, 20, nil, texts, []int{1, 0})))
	human, err := ReadHumanCheck(durable.OS, dir)
	check(t, err)
	report := &Report{Run: filepath.Base(dir), Reason: "done", Human: human, Plan: "  a plan\n",
		Kept: Kept{Choice: judge.Choice{Step: -1, Reason: "too early"}}}
	check(t, durable.WriteWith(durable.OS, filepath.Join(dir, rundir.ReportFile), report.Write))
}

// logLines are the lines of the log of makeRun.
func logLines(t *testing.T) (lines []string) {
	t.Helper()
	at := runlog.At{Attempt: 1, Time: began}
	add := func(record any) {
		data, err := json.Marshal(record)
		check(t, err)
		lines = append(lines, string(data))
		at.Time = at.Time.Add(time.Second)
	}
	add(runlog.Start{Kind: "start", At: at, Process: runlog.Process{Reason: "new run"}})
	add(runlog.Plan{Kind: "plan", At: at, Steps: 30, Parameters: 1000, BaselineLoss: 2.5, UnigramLoss: 3})
	for at.Step < 20 {
		at.Step, at.Batch = at.Step+1, at.Batch+1
		add(runlog.Step{Kind: "step", At: at, Loss: 4, GradNorm: 1, LR: 0.01, ClipScale: 1})
		switch at.Step {
		case 5:
			add(runlog.Event{Kind: "event", At: at, Code: "W-X", Severity: "warning", Action: "none", Message: "seen"})
		case 15:
			add(runlog.Event{Kind: "event", At: at, Code: "E-X", Severity: "error", Action: "none", Message: "seen"})
		case 10, 20:
			loss := runlog.Float(4 - float64(at.Step)/10)
			add(runlog.Eval{Kind: "eval", At: at, ValLoss: loss, BitsPerByte: loss / 2, BaselineLoss: 2.5,
				Metrics: map[string]runlog.Float{"val_loss_lo": loss - 0.01, "val_loss_hi": loss + 0.01,
					"rep4": 0.5, "rep4_lo": 0.4, "rep4_hi": 0.6, "rep4_human": 0.1}})
		}
	}
	add(runlog.End{Kind: "end", At: at, Process: runlog.Process{Reason: "interrupted"}, ExitCode: 75})
	return lines
}

// saveState saves a checkpoint that has no more than the facts of a run, and marks it stable.
func saveState(t *testing.T, dir string, step int64, data, tokens string) {
	t.Helper()
	state := fmt.Sprintf(`{"version":1,"step":%d,"data_hash":%q,"tokenizer_hash":%q,"baseline":{"order":5,"loss":2.5}}`,
		step, data, tokens)
	_, err := checkpoint.Save(durable.OS, rundir.CheckpointsOf(dir), &checkpoint.Snapshot{Step: step,
		Files: map[string][]byte{rundir.StateFile: []byte(state)},
		Model: []safetensors.Entry{{Name: "w", Shape: []int{2}, Data: []float32{1, 2}}}})
	check(t, err)
	check(t, checkpoint.SetMark(durable.OS, rundir.CheckpointsOf(dir), "stable", step))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o666))
}

// tree lists all files below a directory, with their sizes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	check(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime())
		}
		return nil // a directory that may not be read
	}))
	return b.String()
}
