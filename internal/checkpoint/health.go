package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"gimbal/internal/durable"
)

// HealthFile is the health certificate of a checkpoint.
const HealthFile = "health.json"

const healthVersion = 1

// Health is a checkpoint's certificate: whether it is something to come back to. It says what was true when the
// checkpoint was saved and is one of Snapshot.Files, so the manifest vouches for it.
type Health struct {
	Version int  `json:"version"` // set by Encode
	Finite  bool `json:"finite"`  // every weight and every moment
	Calm    bool `json:"calm"`    // no error in the steps before it

	Verdict string             `json:"verdict,omitempty"` // of the gradients and activations, in a sentence
	Events  []string           `json:"events,omitempty"`  // codes of what disturbed the calm
	Metrics map[string]float64 `json:"metrics,omitempty"` // of the evaluation at this step; finite ones only
}

// Healthy reports whether a run may be taken back to this checkpoint, and whether it may be handed out as a model.
func (h Health) Healthy() bool { return h.Finite && h.Calm }

// String says in a few words what the certificate says.
func (h Health) String() string {
	switch {
	case !h.Finite:
		return "not healthy: weights or moments are not finite"
	case !h.Calm:
		return fmt.Sprintf("not healthy: saved soon after %v", h.Events)
	}
	return "healthy"
}

// Encode returns the content of HealthFile.
func (h Health) Encode() ([]byte, error) {
	h.Version = healthVersion
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("checkpoint: encode %s: %w", HealthFile, err)
	}
	return append(data, '\n'), nil
}

// ReadHealth returns the certificate of an open checkpoint. An error that matches fs.ErrNotExist means that it has
// none: its health is unknown.
func ReadHealth(c *Checkpoint) (Health, error) {
	data, err := c.File(HealthFile)
	if err != nil {
		return Health{}, err
	}
	return parseHealth(c.path, data)
}

func parseHealth(path string, data []byte) (h Health, err error) {
	if err := json.Unmarshal(data, &h); err != nil {
		return Health{}, corrupt(path, HealthFile, "is malformed (%v)", err)
	}
	if h.Version != healthVersion {
		return Health{}, fmt.Errorf("checkpoint: %s: %s has version %d, but this program reads %d: %w: "+
			"use the version of gimbal that wrote it", path, HealthFile, h.Version, healthVersion, ErrVersion)
	}
	return h, nil
}

// errUnhealthy is why NewestHealthy passes a whole checkpoint over.
var errUnhealthy = errors.New("unhealthy")

// certified reads the certificate of the checkpoint at path without its tensors: nil if it is there and says healthy.
func certified(fsys durable.FS, path string) error {
	m, err := readManifest(fsys, path)
	if err != nil {
		return err
	}
	c := Checkpoint{fsys: fsys, path: path, manifest: m}
	h, err := ReadHealth(&c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("checkpoint: %s: %w: it has no %s", path, errUnhealthy, HealthFile)
	case err != nil:
		return err
	case !h.Healthy():
		return fmt.Errorf("checkpoint: %s: %w: %s", path, errUnhealthy, h)
	}
	return nil
}

// NewestHealthy returns the checkpoint in dir with the highest step whose certificate says healthy and that verifies,
// and the ones with higher steps that were passed over. One without a certificate is passed over too. If there is
// none the error matches ErrNone.
func NewestHealthy(fsys durable.FS, dir string) (path string, refused []Refused, err error) {
	return newestHealthy(fsys, dir, "")
}

// newestHealthy does not read the tensors of the checkpoint at verified again.
func newestHealthy(fsys durable.FS, dir, verified string) (path string, refused []Refused, err error) {
	names, err := candidates(fsys, dir)
	if err != nil {
		return "", nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		err := certified(fsys, path) // before its tensors are read
		if err == nil && path != verified {
			_, err = verify(fsys, path)
		}
		if err == nil {
			return path, refused, nil
		}
		refused = append(refused, Refused{path, err})
	}
	return "", refused, fmt.Errorf("checkpoint: none of the %d in %s is healthy: %w", len(names), dir, ErrNone)
}
