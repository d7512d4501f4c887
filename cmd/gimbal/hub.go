package main

import (
	"fmt"

	"gimbal"
)

type importCmd struct {
	Dir  string `arg:"" help:"Hugging Face model directory: config.json, tokenizer.json, and model.safetensors, whole or in shards."`
	Out  string `help:"Directory to make. Default: imported/<name of DIR>." placeholder:"DIR"`
	JSON bool   `name:"json" help:"Print the result as JSON on standard output."`
}

func (c *importCmd) Run(e *env) error {
	r, err := gimbal.Import(e.ctx, c.Dir, gimbal.ImportOptions{Out: c.Out})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stdout, "%s: %s shape, %d parameters, context %d\n", r.Dir, r.Shape, r.Parameters, r.Context)
	fmt.Fprintf(e.stdout, "next:\n  gimbal sample %[1]s\n  gimbal eval %[1]s --data TEXT\n  gimbal train --from %[1]s --data TEXT\n", r.Dir)
	return nil
}

type exportCmd struct {
	Run_       string `arg:"" name:"run" help:"Run or checkpoint directory."`
	Dir        string `arg:"" help:"Directory to make."`
	DType      string `name:"dtype" default:"fp32" enum:"fp32,bf16" help:"Type of the weights: fp32, which is exact, or bf16, which rounds (${enum})."`
	Checkpoint string `help:"Which checkpoint of the run: stable, best-loss, last or step-N. Default: stable, else last, if it is healthy." placeholder:"NAME"`
	JSON       bool   `name:"json" help:"Print the result as JSON on standard output."`
}

func (c *exportCmd) Run(e *env) error {
	r, err := gimbal.Export(e.ctx, c.Run_, c.Dir, gimbal.ExportOptions{Checkpoint: c.Checkpoint, DType: c.DType})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stderr, "gimbal: %s, step %d, health %s\n", r.Checkpoint, r.Step, r.Health)
	fmt.Fprintf(e.stdout, "%s: %s, as transformers and its kin read it\n", r.Dir, r.DType)
	return nil
}
