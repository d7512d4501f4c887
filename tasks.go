package gimbal

import (
	"context"

	"gimbal/internal/evaluate"
	"gimbal/internal/measure"
)

// TaskOptions say which questions [Ask] asks.
type TaskOptions struct {
	// Tasks are files of JSON lines, in the layout of HellaSwag, ARC, PIQA or gsm8k, or names of files NAME.jsonl in
	// ~/.local/share/gimbal/tasks.
	Tasks []string
	// Shots is how many examples come before each question: the first ones of ShotsFrom, or of the task itself.
	// 0: none.
	Shots int
	// ShotsFrom is a file of examples, in a layout of Tasks. Empty: the task's own, without the question.
	ShotsFrom string
	// Limit is the most questions of a task, from its first. 0: all.
	Limit int
	// Pattern is a regular expression that finds the answer in what is written. Empty: that of gsm8k where the answers
	// have its form, else the first line is the answer.
	Pattern string
	// Checkpoint chooses a checkpoint of a run, as in [OpenOptions].
	Checkpoint string
	// Workers is the number of threads that compute. 0: one for each processor that Go may use.
	Workers int
	// Device is what computes, as in [TrainOptions]. Empty: "auto".
	Device string
	// Progress hears what takes a while, each a [Note]. nil: nobody does.
	Progress func(Progress)
}

// TaskResult is how many questions of a task a model answers rightly.
type TaskResult struct {
	Name    string       `json:"name"`     // of the file
	Path    string       `json:"path"`     // of the file
	Items   int          `json:"items"`    // questions
	Shots   int          `json:"few_shot"` // examples before each
	Cut     int          `json:"cut"`      // questions that lost their beginning, because the context is shorter
	Metrics []TaskMetric `json:"metrics"`  // what is measured
	Answers []TaskAnswer `json:"answers"`  // one for each question
}

// TaskMetric is a share of right answers.
type TaskMetric struct {
	// Name is "acc" for the most probable choice, "acc_norm" and "acc_bytes" for the most probable by its characters
	// and bytes, "exact_match" for a written answer, and "flexible" for the last number in one.
	Name  string  `json:"name"`
	Value float64 `json:"value"` // from 0 to 1
	SE    float64 `json:"se"`    // standard error
}

// TaskAnswer is the answer to one question.
type TaskAnswer struct {
	LogLikelihoods []float64 `json:"loglikelihoods,omitempty"` // of the choices, in nats
	Text           string    `json:"text,omitempty"`           // what was written, up to where it is cut
	Right          []bool    `json:"right"`                    // by metric
}

// Ask asks a run, a checkpoint or an imported model questions with known answers. Prompts, tokens and metrics are those
// of lm-evaluation-harness for files with the same fields.
//
// It fails with a [CheckpointError], with a [DataError] that names the line of a task, or with the error of ctx.
func Ask(ctx context.Context, path string, opt TaskOptions) ([]TaskResult, error) {
	if err := threads(opt.Workers); err != nil {
		return nil, err
	}
	with := measure.TaskOptions{Tasks: opt.Tasks, Checkpoint: opt.Checkpoint, Workers: opt.Workers, Device: opt.Device,
		Note: func(string) {}, How: evaluate.TaskOptions{Shots: opt.Shots, ShotsFrom: opt.ShotsFrom, Limit: opt.Limit,
			Pattern: opt.Pattern}}
	if opt.Progress != nil {
		with.Note = func(text string) { opt.Progress(Note(text)) }
	}
	results, err := measure.Tasks(ctx, path, with)
	if err != nil {
		return nil, classify(err, path)
	}
	var list []TaskResult
	for _, r := range results {
		public := TaskResult{Name: r.Name, Path: r.Path, Items: r.Items, Shots: r.Shots, Cut: r.Cut}
		for _, m := range r.Metrics {
			public.Metrics = append(public.Metrics, TaskMetric(m))
		}
		for _, a := range r.Answers {
			public.Answers = append(public.Answers, TaskAnswer(a))
		}
		list = append(list, public)
	}
	return list, nil
}
