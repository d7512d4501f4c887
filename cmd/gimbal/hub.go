package main

import (
	"fmt"

	"gimbal"
	"gimbal/internal/runs"
)

type importCmd struct {
	Dir  string `arg:"" help:"Directory with config.json, tokenizer.json and model.safetensors."`
	Out  string `help:"Directory to make. Default: imported/<name of DIR>." placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

func (c *importCmd) Run(e *env) error {
	r, err := gimbal.Import(e.ctx, c.Dir, gimbal.ImportOptions{Out: c.Out})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	for _, note := range r.Notes {
		e.progress.Notef("%s", note)
	}
	fmt.Fprintf(e.stdout, "%s: %s shape, %d parameters, context %d\n", r.Dir, r.Shape, r.Parameters, r.Context)
	const next = "next:\n  %[2]s sample %[1]s\n  %[2]s eval %[1]s --data TEXT\n  %[2]s train --from %[1]s --data TEXT\n"
	fmt.Fprintf(e.stdout, next, runs.Quote(r.Dir), e.program)
	return nil
}

type exportCmd struct {
	Run_       string `arg:"" name:"run" help:"Run or checkpoint directory."`
	Dir        string `arg:"" help:"Directory to make."`
	Merge      bool   `help:"Add an adapter to its weights. Default: write it by itself, for PEFT."`
	DType      string `name:"dtype" default:"fp32" enum:"fp32,bf16" help:"Type of the weights; bf16 rounds them."`
	Checkpoint string `help:"${which}" placeholder:"NAME"`
	JSON       bool   `name:"json" help:"Print the result as JSON."`
}

func (c *exportCmd) Run(e *env) error {
	r, err := gimbal.Export(e.ctx, c.Run_, c.Dir, gimbal.ExportOptions{Checkpoint: c.Checkpoint, DType: c.DType,
		Merge: c.Merge})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	e.progress.Notef("%s, step %d, health %s", r.Checkpoint, r.Step, r.Health)
	fmt.Fprintf(e.stdout, "%s: %s, in Hugging Face format\n", r.Dir, r.DType)
	return nil
}
