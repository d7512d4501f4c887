package exit

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/tokenizer"
)

type own int

func (own) Error() string   { return "own" }
func (o own) ExitCode() int { return int(o) }

// TestOf: every kind of error has its code, alone, wrapped and joined to another.
func TestOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{io.ErrUnexpectedEOF, 1},
		{&config.Error{}, 2}, {rundir.ErrExists, 2}, {&preflight.Refusal{Exit: 2}, 2},
		{own(3), 3}, {&preflight.Refusal{Exit: 3}, 3},
		{&data.Error{}, 4}, {data.ErrUnusable, 4}, {&tokenizer.UnseenCharError{}, 4}, {&tokenizer.InvalidByteError{}, 4},
		{tokenizer.ErrNoText, 4}, {durable.ErrShrunk, 4}, {fmt.Errorf("%w: %w", data.ErrUnusable, plan.ErrChanged), 4},
		{rundir.ErrResume, 5}, {rundir.ErrCheckpoint, 5}, {checkpoint.ErrCorrupt, 5}, {checkpoint.ErrNone, 5},
		{checkpoint.ErrVersion, 5}, {&durable.LockedError{}, 5}, {&hub.Error{Err: io.EOF}, 5},
		{fmt.Errorf("%w: %w", rundir.ErrResume, &config.Error{}), 5}, // the configuration of a run that is damaged
		{durable.ErrNoSpace, 6}, {plan.ErrMemory, 6}, {device.ErrLost, 6},
		{own(75), 75},
	} {
		for _, err := range []error{c.err, fmt.Errorf("while it ran: %w", c.err), errors.Join(io.EOF, c.err)} {
			if got := Of(err); got != c.want {
				t.Errorf("%v: %d, want %d", err, got, c.want)
			}
		}
	}
	if got := Of(nil); got != Done {
		t.Errorf("no error: %d", got)
	}
}
