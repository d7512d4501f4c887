package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"gimbal/internal/durable"
)

// HealthFile is the file of a checkpoint's health certificate.
const HealthFile = "health.json"

const healthVersion = 1

// Health is a checkpoint's certificate. It says whether a run may be taken back to the checkpoint, as known when it was
// saved. It is one of Snapshot.Files, so the manifest covers it.
type Health struct {
	Version int  `json:"version"` // set by Encode
	Finite  bool `json:"finite"`  // every weight and every moment is
	Calm    bool `json:"calm"`    // no error in the steps before it

	Verdict string             `json:"verdict,omitempty"` // on gradients and activations, in a sentence
	Events  []string           `json:"events,omitempty"`  // codes of the errors in the steps before it
	Metrics map[string]float64 `json:"metrics,omitempty"` // of the evaluation at this step; finite ones only
}

// Healthy reports whether a run may be taken back to this checkpoint, and whether it is good enough to export.
func (h Health) Healthy() bool { return h.Finite && h.Calm }

// String returns the certificate in a few words.
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
func ReadHealth(c *Checkpoint) (h Health, err error) {
	data, err := c.File(HealthFile)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return Health{}, corrupt(c.path, HealthFile, "is malformed (%v)", err)
	}
	if h.Version != healthVersion {
		return Health{}, fmt.Errorf("checkpoint: %s: %s has version %d, but this program reads %d: %w: "+
			"use the version of gimbal that wrote it", c.path, HealthFile, h.Version, healthVersion, ErrVersion)
	}
	return h, nil
}

// HealthOf is ReadHealth for the checkpoint at path, of which nothing but the certificate is verified.
func HealthOf(fsys durable.FS, path string) (Health, error) {
	m, err := readManifest(fsys, path)
	if err != nil {
		return Health{}, err
	}
	return ReadHealth(&Checkpoint{fsys: fsys, path: path, manifest: m})
}

// checkHealth returns nil if the checkpoint at path has a certificate that says healthy. It does not read the tensors.
func checkHealth(fsys durable.FS, path string) error {
	h, err := HealthOf(fsys, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("checkpoint: %s: its health is unknown: it has no %s", path, HealthFile)
	case err == nil && !h.Healthy():
		return fmt.Errorf("checkpoint: %s: %s", path, h)
	}
	return err
}

// NewestHealthy returns the checkpoint in dir with the highest step whose certificate says healthy and that verifies,
// and why those with higher steps are refused. One without a certificate is refused. If there is none the error matches
// ErrNone.
func NewestHealthy(fsys durable.FS, dir string) (path string, refused []error, err error) {
	return newestHealthy(fsys, dir, "")
}

// newestHealthy does not read the tensors of the checkpoint at verified again.
func newestHealthy(fsys durable.FS, dir, verified string) (path string, refused []error, err error) {
	path, refused, err = first(fsys, dir, func(path string) error {
		if err := checkHealth(fsys, path); err != nil || path == verified {
			return err
		}
		_, err := verify(fsys, path)
		return err
	})
	if err == nil && path == "" {
		err = fmt.Errorf("checkpoint: none of the %d in %s is healthy: %w", len(refused), dir, ErrNone)
	}
	return path, refused, err
}
