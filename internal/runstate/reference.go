package runstate

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/rundir"
)

// mostReference is the most bytes of the file of a reference.
const mostReference = 4 << 30

// Reference returns the nats of every document that preferences are compared with: it reads those of the run, or before
// step 1 lets measure fill them in, and keeps them. like says what they are of, but for the weights; st remembers the
// file. Later, when the weights are others, a reference that is missing or of something else cannot be made again.
func (s *Store) Reference(st *State, like evaluate.Reference,
	measure func(*evaluate.Reference) error) ([]float64, error) {
	name := filepath.Join(s.Dir, rundir.ReferenceFile)
	if st.Step == 0 {
		var err error
		if like.Model, err = s.startHash(); err != nil {
			return nil, err
		}
	}
	raw, err := durable.ReadFile(s.FS, name, mostReference)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	switch r, hash := evaluate.ParseReference(raw); {
	case st.Step > 0 && hash != st.Reference:
		return nil, fmt.Errorf("%w: %s is missing or is not the one that the run was trained with: what preferences "+
			"are compared with is lost; bring the file back, or start again with --from", rundir.ErrResume, name)
	case st.Step > 0 && (r.Data != like.Data || r.Template != like.Template):
		return nil, fmt.Errorf("%w: %s is of other data, or of another chat template", rundir.ErrResume, name)
	case st.Step > 0 || r.Same(like):
		st.Reference = hash
		return r.Nats, nil
	}
	if err := measure(&like); err != nil {
		return nil, err
	}
	raw, hash, err := like.Encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := durable.WriteFile(s.FS, name, raw); err != nil {
		return nil, err
	}
	st.Reference = hash
	return like.Nats, nil
}

// startHash is the hash of the weights of step 0.
func (s *Store) startHash() (string, error) {
	c, err := checkpoint.Open(s.FS, s.Checkpoint(0))
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.WeightsHash()
}
