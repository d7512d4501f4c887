package measure

import (
	"cmp"
	"context"
	"fmt"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/device"
	"gimbal/internal/evaluate"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
)

// TaskOptions say which questions a model is asked.
type TaskOptions struct {
	Tasks      []string // files, or names in evaluate.TasksDir
	How        evaluate.TaskOptions
	Checkpoint string // which one of the run; see rundir.OpenCheckpoint
	Workers    int
	Device     string            // as numeric.device; empty: auto
	Note       func(text string) // told what takes a while
}

// Tasks asks the questions of tasks. Its errors are those of hub.OpenModel and of evaluate.OpenTask.
func Tasks(ctx context.Context, path string, opt TaskOptions) (list []evaluate.TaskResult, err error) {
	if len(opt.Tasks) == 0 {
		return nil, fmt.Errorf("%w: no task is named", data.ErrUnusable)
	}
	var tasks []*evaluate.Task
	for _, name := range opt.Tasks {
		t, err := evaluate.OpenTask(name, opt.How)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	m, err := hub.OpenModel(path, opt.Checkpoint)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	say := func(format string, args ...any) { opt.Note(fmt.Sprintf(format, args...)) }
	numeric := config.Default().Numeric
	numeric.Device = cmp.Or(opt.Device, numeric.Device)
	o, err := device.Choose(ctx, numeric, opt.Workers, say)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	longest := min(m.Arch.Context, longestPiece)
	return evaluate.MeasureTasks(ctx, evaluate.MeasureOptions{Model: m, Opener: o,
		MicroTokens: max(longest, min(plan.AutoMicro(m.Arch), 4*longest))}, tasks)
}
