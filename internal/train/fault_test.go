package train

import (
	"path/filepath"
	"testing"

	"gimbal/internal/exit"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// Where the program is wrong between two steps, in an evaluation, the run is saved before it ends; within a step its
// state is half that of the next, and the newest checkpoint is that of before. The log says what happened.
func TestFaultSavesWhatIsWhole(t *testing.T) {
	const want = 30
	for inStep, at := range map[bool]int{false: 30, true: 40} {
		o := &scripted{loss: falling}
		o.wrong = func(gradient bool) bool { return gradient == inStep && len(o.commits) >= at }
		dir := filepath.Join(t.TempDir(), "run")
		func() {
			defer func() {
				if v := recover(); v != "planted" {
					t.Errorf("recovered %v", v)
				}
			}()
			o.norm = steady
			cfg := tiny(t, "train.steps=200", "eval.every=30", "checkpoint.every=25", "numeric.mode=fp32",
				"judge.early_stop=off")
			_, err := Run(t.Context(), cfg, Options{Out: dir, seams: seams{opener: opens{o}, unchecked: true}})
			t.Errorf("no panic: %v", err)
		}()
		c, refused, err := rundir.Newest(dir)
		if err != nil || len(refused) > 0 || c.Step() != want || updates(t, dir, want) != float32(want) {
			t.Errorf("in a step %v: step %d, %v, %v", inStep, c.Step(), refused, err)
		}
		c.Close()
		ends := runlog.All[runlog.End](readLog(t, dir))
		if len(ends) != 1 || ends[0].ExitCode != exit.Fault ||
			ends[0].Reason != "failed: the program is wrong: planted" {
			t.Errorf("in a step %v: %+v", inStep, ends)
		}
	}
}
