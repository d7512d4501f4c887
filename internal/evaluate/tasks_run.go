package evaluate

import (
	"context"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/runlog"
	"gimbal/internal/tokenizer"
)

// TaskResult is what a model makes of a task.
type TaskResult struct {
	Name    string       `json:"name"`
	Path    string       `json:"path"`
	Items   int          `json:"items"`
	Shots   int          `json:"few_shot"`
	Cut     int          `json:"cut,omitempty"` // questions that are longer than the context, and lost their beginning
	Metrics []TaskMetric `json:"metrics"`
	Answers []TaskAnswer `json:"answers"` // one for each item
}

// TaskMetric is a share of right answers. acc takes the most probable choice, acc_norm the most probable for its
// characters, acc_bytes for its bytes; exact_match and flexible are of written answers.
type TaskMetric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	SE    float64 `json:"se"` // standard error, √(p(1−p)/(n−1))
}

// TaskAnswer is the answer to one item.
type TaskAnswer struct {
	LogLikelihoods []float64 `json:"loglikelihoods,omitempty"` // of the choices, in nats
	Text           string    `json:"text,omitempty"`           // what was written
	Right          []bool    `json:"right"`                    // by metric
}

// taskTokens is the most tokens of a written answer.
const taskTokens = 256

// Task asks the model the questions of a task. Errors are those of the engine and of ctx.
func (e *Evaluator) Task(ctx context.Context, t *Task) (r TaskResult, err error) {
	r = TaskResult{Name: t.Name, Path: t.Path, Items: len(t.Items), Shots: t.Shots}
	names := []string{"acc", "acc_norm", "acc_bytes"}
	if t.patterns == nil {
		err = e.choose(ctx, t, &r)
	} else {
		names = nil
		for _, p := range t.patterns {
			names = append(names, p.metric)
		}
		err = e.answer(ctx, t, &r)
	}
	if err != nil {
		return TaskResult{}, err
	}
	n := float64(len(r.Answers))
	for i, name := range names {
		right := 0.0
		for _, a := range r.Answers {
			if a.Right[i] {
				right++
			}
		}
		p := right / n
		r.Metrics = append(r.Metrics, TaskMetric{name, p, math.Sqrt(p * (1 - p) / max(1, n-1))})
	}
	return r, nil
}

// Tasks asks the questions of all tasks of Options.
func (e *Evaluator) Tasks(ctx context.Context) (list []TaskResult, err error) {
	for _, t := range e.opt.Tasks {
		r, err := e.Task(ctx, t)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// String is a line: the metrics with their standard errors.
func (r TaskResult) String() string {
	line := fmt.Sprintf("%s, %d questions:", r.Name, r.Items)
	for i, m := range r.Metrics {
		line += fmt.Sprintf("%s %s %.3f ± %.3f", map[bool]string{true: ","}[i > 0], m.Name, m.Value, m.SE)
	}
	return line
}

// Log are the numbers under the keys of the log: task_NAME_METRIC with its 95 % interval.
func (r *TaskResult) Log(metrics map[string]runlog.Float) {
	for _, m := range r.Metrics {
		key := MetricTask + r.Name + "_" + m.Name
		metrics[key] = runlog.Float(m.Value)
		metrics[key+"_lo"], metrics[key+"_hi"] = runlog.Float(m.Value-1.96*m.SE), runlog.Float(m.Value+1.96*m.SE)
	}
}

// sequence is one choice as the model reads it.
type sequence struct {
	item, choice int
	ids          []int32
	from         int // the first that counts
}

// encodePair returns the tokens of a context and of what follows it, which begin at from. White space at the end of
// the context belongs to what follows, and both are encoded as one text.
//
// Source: TemplateLM._encode_pair of lm-evaluation-harness.
func encodePair(tok *tokenizer.Tokenizer, start int32, context, rest string) (ids []int32, from int, err error) {
	if context == "" {
		ids, err = tok.Append([]int32{start}, []byte(rest))
		return ids, 1, err
	}
	bare := strings.TrimRightFunc(context, unicode.IsSpace)
	if ids, err = encodeWhole(tok, context+rest); err != nil {
		return nil, 0, err
	}
	before, err := encodeWhole(tok, bare)
	return ids, min(len(before), len(ids)), err
}

// encodeWhole returns the tokens of a text behind what tokenizer.json puts first.
func encodeWhole(tok *tokenizer.Tokenizer, text string) (ids []int32, err error) {
	if first, ok := tok.First(); ok {
		ids = append(ids, first)
	}
	return tok.Append(ids, []byte(text))
}

// choose measures how probable each choice is.
func (e *Evaluator) choose(ctx context.Context, t *Task, r *TaskResult) error {
	longest := min(e.opt.MicroTokens, e.opt.Engine.Info().Arch.Context)
	r.Answers = make([]TaskAnswer, len(t.Items))
	var pass []sequence
	positions := 0
	flush := func() error {
		defer func() { pass, positions = pass[:0], 0 }()
		return e.scoreChoices(ctx, pass, r.Answers)
	}
	for i, item := range t.Items {
		r.Answers[i].LogLikelihoods = make([]float64, len(item.Choices))
		cut := false
		for k, choice := range item.Choices {
			ids, from, err := encodePair(e.opt.Tok, e.opt.Start, item.Context, item.delimiter+choice)
			if err != nil {
				return err
			}
			if over := len(ids) - (longest + 1); over > 0 { // the end of the question is kept
				ids, from, cut = ids[over:], max(0, from-over), true
			}
			n := len(ids) - 1
			if n < 1 {
				continue
			}
			if positions+n > e.opt.MicroTokens {
				if err := flush(); err != nil {
					return err
				}
			}
			pass, positions = append(pass, sequence{i, k, ids, from}), positions+n
		}
		if cut {
			r.Cut++
		}
	}
	if err := flush(); err != nil {
		return err
	}
	for i, item := range t.Items {
		a := &r.Answers[i]
		for _, length := range []func(string) int{func(string) int { return 1 }, utf8.RuneCountInString,
			func(s string) int { return len(s) }} {
			best, most := -1, math.Inf(-1)
			for k, ll := range a.LogLikelihoods {
				if ll /= float64(length(item.Choices[k])); best < 0 || ll > most {
					best, most = k, ll
				}
			}
			a.Right = append(a.Right, best == item.Gold)
		}
	}
	return nil
}

// scoreChoices runs one pass over choices.
func (e *Evaluator) scoreChoices(ctx context.Context, pass []sequence, answers []TaskAnswer) error {
	if len(pass) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	in := engine.Input{Bounds: []int32{0}}
	for _, s := range pass {
		n := len(s.ids) - 1
		in.Tokens, in.Labels = append(in.Tokens, s.ids[:n]...), append(in.Labels, s.ids[1:]...)
		for p := range n {
			in.Counts = append(in.Counts, p+1 >= s.from)
		}
		in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
	}
	v, err := e.opt.Engine.Pass(ctx, in, engine.Nats|engine.PerToken)
	if err != nil {
		return err
	}
	for i, s := range pass {
		ll := &answers[s.item].LogLikelihoods[s.choice]
		for _, nats := range v.TokenNats[in.Bounds[i]:in.Bounds[i+1]] {
			*ll -= nats
		}
	}
	return nil
}

// taskStops end a written answer, as those of gsm8k in the harness.
var taskStops = []string{"Question:", "</s>", "<|im_end|>"}

// answer lets the model write, always the most probable token.
func (e *Evaluator) answer(ctx context.Context, t *Task, r *TaskResult) error {
	stops := taskStops
	if t.patterns[0].find == nil { // an answer is a line
		stops = append([]string{"\n"}, stops...)
	}
	window := e.opt.Engine.Info().Arch.Context
	room := max(1, window/2, window-taskTokens) // of a question
	requests, longest := make([]generate.Request, len(t.Items)), 0
	for i, item := range t.Items {
		ids, err := encodeWhole(e.opt.Tok, item.Context)
		if err != nil {
			return err
		}
		if over := len(ids) - room; over > 0 {
			ids = ids[over:]
			r.Cut++
		}
		requests[i] = generate.Request{Prompt: ids, Index: uint64(i)}
		longest = max(longest, len(ids))
	}
	capacity := min(window, longest+taskTokens)
	rows, _ := engine.DecoderRows(e.opt.Engine.Info().Arch, len(requests), capacity)
	d, err := e.opt.Engine.Decoder(rows, capacity)
	if err != nil {
		return err
	}
	d.Refresh()
	g := generate.New(d)
	if err := g.Start(requests, generate.Options{MaxTokens: taskTokens, Ends: e.opt.Tok.Ends()}); err != nil {
		return err
	}
	written := make([][]byte, len(requests))
	for g.Active() {
		drawn, err := g.Step(ctx)
		if err != nil {
			return err
		}
		for _, token := range drawn {
			if token.Finish != generate.FinishEOS {
				written[token.Request] = append(written[token.Request], e.opt.Tok.Bytes(token.Token)...)
			}
			if _, stopped := cutAt(string(written[token.Request]), stops); stopped && token.Finish == "" {
				g.End(token.Request)
			}
		}
	}
	for i, item := range t.Items {
		text, _ := cutAt(strings.ToValidUTF8(string(written[i]), "�"), stops)
		a := TaskAnswer{Text: text}
		for _, p := range t.patterns {
			a.Right = append(a.Right, matches(p.extract(text), item.Answer))
		}
		r.Answers = append(r.Answers, a)
	}
	return nil
}

// cutAt cuts a text before the first of some strings.
func cutAt(text string, stops []string) (before string, stopped bool) {
	for _, stop := range stops {
		if at := strings.Index(text, stop); at >= 0 {
			text, stopped = text[:at], true
		}
	}
	return text, stopped
}
