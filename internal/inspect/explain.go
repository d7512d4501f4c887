package inspect

import (
	"context"
	"fmt"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// Event is an event of the guard as the log records it.
func Event(at runlog.At, e guard.Event) runlog.Event {
	rec := runlog.Event{At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message,
		Numbers: map[string]runlog.Float{}}
	for name, v := range e.Numbers {
		rec.Numbers[name] = runlog.Float(v)
	}
	return rec
}

// Found is what an explanation asks for.
type Found struct {
	Aside []data.Span // sequences to leave out for the rest of the run
	Keep  bool        // the batch was refused and is worth a look later
}

// Explain adds to the record of an event of the guard what is behind it. Where the guard acts it runs the batch again,
// and needs the gradients no more.
func (b Batch) Explain(ctx context.Context, e *runlog.Event, d guard.Decision, o engine.Opener,
	spec engine.Spec) (Found, error) {
	switch e.Code {
	case guard.CodeNonfinite:
		return b.nonfinite(ctx, e, d, o, spec)
	case guard.CodeOutlier:
		return b.outlier(ctx, e, d)
	}
	return Found{}, nil
}

// nonfinite names what is behind a loss, norm or update that is not finite: the first bad place in the model and the
// documents. Where the guard acts it runs the suspects one at a time, and tries the batch in full precision.
func (b Batch) nonfinite(ctx context.Context, e *runlog.Event, d guard.Decision, o engine.Opener,
	spec engine.Spec) (f Found, err error) {
	place, suspects, weight, err := b.FirstBad()
	if err != nil {
		return f, err
	}
	e.Tensor, e.Documents = place, b.Describe(suspects)
	if d.Action == guard.Apply {
		return f, nil
	}
	guilty, err := b.Blame(ctx, suspects)
	if err != nil {
		return f, err
	}
	if len(guilty) > 0 {
		e.Documents = b.Describe(guilty)
		if !weight {
			f.Aside = guilty
			e.Message += fmt.Sprintf("; sequences that cause it alone: %d, now quarantined", len(guilty))
		}
	}
	if d.Diagnose {
		op, err := b.InFullPrecision(ctx, o, spec)
		if err != nil {
			return f, err
		}
		if op.Asked {
			e.Numbers["fp32_loss"], e.Numbers["fp32_grad_norm"] = runlog.Float(op.Loss), runlog.Float(op.GradNorm)
		}
		if op.Text != "" {
			e.Message += "; " + op.Text
		}
	}
	f.Keep = true
	return f, nil
}

// outlier names the documents of a batch far outside the accepted ones, the worst first; all its sequences are to be
// left out. Where the data is not the reason, or the guard does not act, there is nothing to explain.
func (b Batch) outlier(ctx context.Context, e *runlog.Event, d guard.Decision) (f Found, err error) {
	if !d.Quarantine {
		return f, nil
	}
	worst, loss, err := b.Worst(ctx)
	if err != nil {
		return f, err
	}
	e.Documents, e.Numbers["worst_sequence_loss"] = b.Describe(worst), runlog.Float(loss)
	return Found{Aside: b.Spans, Keep: true}, nil
}
