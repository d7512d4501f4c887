package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"gimbal/internal/durable"
)

// formatVersion is the version of what Save writes and the newest that Open reads.
// 1: the first.
const formatVersion = 1

const maxManifest = 1 << 20 // bytes

// manifest lists the files of a checkpoint.
type manifest struct {
	Format int         `json:"format"`
	Step   int64       `json:"step"`
	Files  []fileEntry `json:"files"`
	SHA256 string      `json:"sha256"` // of all bytes of the manifest but these digits
}

type fileEntry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// The manifest ends with its own hash. Because the place of the hash is fixed, it can be checked before anything
// else is understood, in any later version too.
const manifestTail = "\"\n}\n"

const hexLen = 2 * sha256.Size

// selfHash returns the hash of a manifest without the digits of its hash.
func selfHash(data []byte) string {
	h := sha256.New()
	h.Write(data[:len(data)-len(manifestTail)-hexLen])
	h.Write(data[len(data)-len(manifestTail):])
	return hex.EncodeToString(h.Sum(nil))
}

// encode returns the bytes of the manifest with its hash.
func (m manifest) encode() ([]byte, error) {
	m.SHA256 = fmt.Sprintf("%0*d", hexLen, 0)
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("checkpoint: encode manifest: %w", err)
	}
	data = append(data, '\n')
	copy(data[len(data)-len(manifestTail)-hexLen:], selfHash(data))
	return data, nil
}

// readManifest reads and checks the manifest in a directory.
func readManifest(fsys durable.FS, path string) (*manifest, error) {
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("checkpoint: open %s: there is no such directory: %w", path, ErrNone)
	} else if err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("checkpoint: open %s: it is no directory: %w", path, ErrCorrupt)
	}
	name := filepath.Join(path, ManifestFile)
	info, err = fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt(path, ManifestFile, "is missing")
	} else if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", name, err)
	} else if !info.Mode().IsRegular() || info.Size() > maxManifest {
		return nil, corrupt(path, ManifestFile, "is no regular file of at most %d bytes", maxManifest)
	}
	data, err := durable.ReadFile(fsys, name, maxManifest)
	if err != nil {
		return nil, err
	}
	if len(data) < len(manifestTail)+hexLen || string(data[len(data)-len(manifestTail):]) != manifestTail ||
		selfHash(data) != string(data[len(data)-len(manifestTail)-hexLen:len(data)-len(manifestTail)]) {
		return nil, corrupt(path, ManifestFile, "differs from what was saved (hash)")
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, corrupt(path, ManifestFile, "is malformed (%v)", err)
	}
	if version.Format != formatVersion {
		return nil, fmt.Errorf("checkpoint: %s: format %d, but this program reads %d: %w: "+
			"use the version of gimbal that wrote it", path, version.Format, formatVersion, ErrVersion)
	}
	var m manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, corrupt(path, ManifestFile, "is malformed (%v)", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, corrupt(path, ManifestFile, "is malformed (text after its end)")
	}
	seen := map[string]bool{}
	for _, e := range m.Files {
		if !goodName(e.Name) || e.Name == ManifestFile || seen[e.Name] || e.Size < 0 || len(e.SHA256) != hexLen {
			return nil, corrupt(path, ManifestFile, "is malformed (file %q)", e.Name)
		}
		seen[e.Name] = true
	}
	// A copy may have any name, but one that names a step must tell the truth.
	if step, _, ok := parseName(filepath.Base(path)); ok && step != m.Step {
		return nil, corrupt(path, ManifestFile, "belongs to step %d", m.Step)
	}
	return &m, nil
}
