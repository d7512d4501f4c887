package gimbal_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"gimbal"
)

// trainTiny trains a model of a moment on a text of two sentences, for the examples to use.
func trainTiny() (dir string, cleanup func()) {
	root, err := os.MkdirTemp("", "gimbal-example-")
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	text := strings.Repeat("The cat sat on the mat. The dog sat on the cat. ", 60)
	if err := os.WriteFile(filepath.Join(root, "text.txt"), []byte(text), 0o666); err != nil {
		log.Fatal(err)
	}
	cfg, err := gimbal.LoadConfig("", "data.paths="+filepath.Join(root, "text.txt"), "tokenizer.kind=chars", "model.layers=1", "model.width=64",
		"train.context=32", "train.batch_tokens=256", "train.steps=60", "optim.lr=0.01", "eval.max_tokens=8")
	if err != nil {
		log.Fatal(err)
	}
	res, err := gimbal.Train(context.Background(), cfg, gimbal.Options{Out: filepath.Join(root, "run")})
	if err != nil {
		log.Fatal(err)
	}
	return res.Dir, func() { os.RemoveAll(root) }
}

func Example() {
	dir, cleanup := trainTiny()
	defer cleanup()

	m, err := gimbal.Open(dir, "")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	texts, err := m.Generate(context.Background(), "The cat sat on", gimbal.GenerateOptions{Greedy: true, MaxTokens: 9})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s|%s\n", texts[0].Prompt, texts[0].Text)
	// Output: The cat sat on| the mat.
}

func ExampleLoadConfig() {
	_, err := gimbal.LoadConfig("", "train.step=100", "model.width=-1")
	fmt.Println(errors.Is(err, gimbal.ErrConfig))
	fmt.Println(err)
	// Output:
	// true
	// config: 2 faults
	//   --set: train.step: unknown key; did you mean train.steps?
	//   --set: model.width: -1 is outside the range from 2 to 65536
}

func ExampleResume() {
	dir, cleanup := trainTiny()
	defer cleanup()

	res, err := gimbal.Resume(context.Background(), dir, gimbal.ResumeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Reason, res.Step)
	res, err = gimbal.Resume(context.Background(), dir, gimbal.ResumeOptions{Steps: 62})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Reason, res.Step)
	// Output:
	// already done 60
	// done 62
}

func ExampleEvaluate() {
	dir, cleanup := trainTiny()
	defer cleanup()

	r, err := gimbal.Evaluate(context.Background(), dir, gimbal.EvalOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Step, r.Tokens, r.Loss < float64(r.Baseline.Unigram))
	// Output: 60 145 true
}

func ExampleModel_Loss() {
	dir, cleanup := trainTiny()
	defer cleanup()

	m, err := gimbal.Open(dir, "last")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	known, err := m.Loss("The dog sat on the cat.")
	if err != nil {
		log.Fatal(err)
	}
	strange, err := m.Loss("Tac eht no tas god ehT.")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(known.Tokens, known.Bytes, known.LossNats < strange.LossNats)
	_, err = m.Loss("The fox sat.")
	fmt.Println(errors.Is(err, gimbal.ErrData))
	// Output:
	// 24 23 true
	// true
}
