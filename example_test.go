package gimbal_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gimbal"
)

// tiny trains a model of a moment on a text of two sentences.
var tiny = []string{"tokenizer.kind=chars", "model.layers=1", "model.width=64", "train.context=32",
	"train.batch_tokens=256", "optim.lr=0.01", "schedule.warmup=15", "eval.every=30", "eval.max_tokens=8"}

// inTempDir makes an empty working directory with a folder books/, for an example to use.
func inTempDir() (cleanup func()) {
	dir, err := os.MkdirTemp("", "gimbal-example-")
	if err != nil {
		log.Fatal(err)
	}
	before, err := os.Getwd()
	text := strings.Repeat("The cat sat on the mat. The dog sat on the cat. ", 60)
	if err := errors.Join(err, os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache")), os.Chdir(dir),
		os.Mkdir("books", 0o777), os.WriteFile("books/cat.txt", []byte(text), 0o666)); err != nil {
		log.Fatal(err)
	}
	return func() {
		os.Chdir(before)
		os.RemoveAll(dir)
	}
}

// trained is inTempDir with a run in runs/books.
func trained() (cleanup func()) {
	cleanup = inTempDir()
	opt := gimbal.TrainOptions{Data: []string{"books"}, Steps: 60, Out: "runs/books", Set: tiny}
	if _, err := gimbal.Train(context.Background(), opt); err != nil {
		log.Fatal(err)
	}
	return cleanup
}

// Train a model and let it write.
func Example() {
	defer inTempDir()()
	ctx := context.Background()

	res, err := gimbal.Train(ctx, gimbal.TrainOptions{
		Data:  []string{"books/"},
		Steps: 60,
		Out:   "runs/books",
		Set:   tiny, // settings such as "model.width=64"
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Reason, "after", res.Step, "steps")

	m, err := gimbal.Open("runs/books", gimbal.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	texts, err := m.Generate(ctx, "The cat sat on", gimbal.GenerateOptions{Greedy: true, MaxTokens: 9})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s|%s (%s)\n", texts[0].Prompt, texts[0].Text, texts[0].Finish)
	// Output:
	// done after 60 steps
	// The cat sat on| the mat. (length)
}

// Watch a run, and end it from outside: a context that is done saves the run first.
func ExampleTrain_progress() {
	defer inTempDir()()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	res, err := gimbal.Train(ctx, gimbal.TrainOptions{
		Data: []string{"books/"}, Steps: 1000, Out: "runs/books", Set: tiny,
		Progress: func(p gimbal.Progress) {
			switch p := p.(type) {
			case *gimbal.Plan:
				fmt.Println(p.Steps, "steps of at most", p.BatchTokens, "tokens to", p.Dir)
			case gimbal.Step: // p.Loss, p.LR, p.TokensPerSecond, …
				if p.Step == 20 {
					cancel()
				}
			case gimbal.Evaluation: // p.Loss beside p.BaselineLoss, p.Samples, …
			case gimbal.Event, gimbal.Note: // fmt.Println(p)
			}
		},
	})
	fmt.Println(res.Reason, "after", res.Step, "steps")
	fmt.Println(errors.Is(err, gimbal.ErrInterrupted), errors.Is(err, context.Canceled))
	// Output:
	// 1000 steps of at most 256 tokens to runs/books
	// interrupted after 20 steps
	// true true
}

func ExampleConfigError() {
	_, err := gimbal.Train(context.Background(), gimbal.TrainOptions{Set: []string{"train.step=100", "model.width=-1"}})
	var bad *gimbal.ConfigError
	if errors.As(err, &bad) {
		for _, f := range bad.Faults {
			fmt.Printf("%s: %s\n", f.Key, f.Message)
		}
	}
	// Output:
	// train.step: unknown key; did you mean train.steps?
	// model.width: -1 is outside the range from 2 to 65536
}

func ExampleResume() {
	defer trained()()
	ctx := context.Background()

	res, err := gimbal.Resume(ctx, "runs/books", gimbal.ResumeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Reason, res.Step)
	res, err = gimbal.Resume(ctx, "books", gimbal.ResumeOptions{Steps: 62}) // by name: it is below runs/
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Reason, res.Step)
	// Output:
	// already done 60
	// done 62
}

func ExampleCheck() {
	defer inTempDir()()

	d, err := gimbal.Check(context.Background(), gimbal.TrainOptions{Data: []string{"books"}, Steps: 100,
		Set: append(tiny, "schedule.period=12")})
	var refused *gimbal.RefusedError
	if errors.As(err, &refused) {
		for _, c := range refused.Failed {
			fmt.Println(c.Code, c.Result)
		}
	}
	fmt.Println(d.Plan.Parameters, "parameters,", d.Plan.Steps, "steps")
	// Output:
	// P-RESTART-LATE error
	// 54528 parameters, 100 steps
}

func ExampleEvaluate() {
	defer trained()()

	r, err := gimbal.Evaluate(context.Background(), "runs/books", gimbal.EvalOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("step", r.Step, "on", r.Tokens, "tokens")
	fmt.Println("better than frequencies of characters:", r.Loss < r.Baseline.UnigramLoss)
	// Output:
	// step 60 on 144 tokens
	// better than frequencies of characters: true
}

func ExampleModel_Stream() {
	defer trained()()
	m, err := gimbal.Open("runs/books", gimbal.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	prompt, opt := "The dog sat on", gimbal.GenerateOptions{Greedy: true, MaxTokens: 9}
	fmt.Print(prompt)
	for t, err := range m.Stream(context.Background(), prompt, opt) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print("|", t.Text)
		if t.Finish != "" {
			fmt.Println("|", t.Finish)
		}
	}
	// Output: The dog sat on| |t|h|e| |c|a|t|.| length
}

// One model serves many goroutines. Their texts are those that each would get alone.
func ExampleModel_concurrent() {
	defer trained()()
	m, err := gimbal.Open("runs/books", gimbal.OpenOptions{Checkpoint: "last"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	prompts := []string{"The cat sat on", "The dog sat on"}
	answers := make([]string, len(prompts))
	var all sync.WaitGroup
	for i, prompt := range prompts {
		all.Go(func() {
			texts, err := m.Generate(context.Background(), prompt, gimbal.GenerateOptions{Greedy: true, MaxTokens: 9})
			if err != nil {
				log.Fatal(err)
			}
			answers[i] = texts[0].Text
		})
	}
	all.Wait()
	fmt.Printf("%q\n", answers)
	// Output: [" the mat." " the cat."]
}

func ExampleModel_Score() {
	defer trained()()
	m, err := gimbal.Open("runs/books", gimbal.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()

	known, err := m.Score(ctx, "The dog sat on the cat.")
	if err != nil {
		log.Fatal(err)
	}
	strange, err := m.Score(ctx, "Tac eht no tas god ehT.")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(known.Tokens, "tokens;", "the known text is more probable:", known.Loss < strange.Loss)

	_, err = m.Score(ctx, "The fox sat.")
	var unknown *gimbal.DataError
	if errors.As(err, &unknown) {
		fmt.Println("a character is unknown at byte", unknown.Offset)
	}
	// Output:
	// 24 tokens; the known text is more probable: true
	// a character is unknown at byte 4
}

// A model leaves as a Hugging Face model directory, and comes back from one.
func ExampleExport() {
	defer trained()()
	ctx := context.Background()

	out, err := gimbal.Export(ctx, "runs/books", "exported", gimbal.ExportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.DType, "of step", out.Step, "which is", out.Health)
	in, err := gimbal.Import(ctx, "exported", gimbal.ImportOptions{Out: "imported/books"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(in.Shape, "with", in.Parameters, "parameters in", in.Dir)
	// Output:
	// fp32 of step 60 which is healthy
	// qwen3 with 54528 parameters in imported/books
}

func ExampleRuns() {
	defer trained()()

	list, err := gimbal.Runs()
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range list {
		fmt.Println(r.Dir, r.State, r.Step, "of", r.Steps)
	}
	// Output: runs/books done 60 of 60
}

func ExampleCompare() {
	defer trained()()
	opt := gimbal.TrainOptions{Config: "runs/books/config.toml", Set: []string{"model.width=32"}, Out: "runs/small"}
	if _, err := gimbal.Train(context.Background(), opt); err != nil {
		log.Fatal(err)
	}

	c, err := gimbal.Compare("books", "small")
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range c.Runs {
		fmt.Println(r.Dir, r.Step, r.Parameters)
	}
	fmt.Println(c.Rows[0].Metric, c.Rows[0].Values[0].Value < c.Rows[0].Values[1].Value)
	// Output:
	// runs/books 60 54528
	// runs/small 60 27328
	// val_loss true
}
