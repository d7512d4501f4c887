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

// formatVersion is the version that Save writes, and the newest that Open reads.
const formatVersion = 1

const maxManifest = 1 << 20 // bytes

// manifest lists the files of a checkpoint.
type manifest struct {
	Format int         `json:"format"`
	Step   int64       `json:"step"`
	Files  []fileEntry `json:"files"`
	SHA256 string      `json:"sha256"` // of all bytes of the manifest except these digits
}

type fileEntry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// The manifest ends with its own hash, in every version: it is checked before anything else is read.
const (
	manifestTail = "\"\n}\n" // what follows the digits of the hash
	hexLen       = 2 * sha256.Size
)

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
	} else if errors.Is(err, durable.ErrLink) {
		return nil, corrupt(filepath.Dir(path), filepath.Base(path), "is refused (%v)", durable.ErrLink)
	} else if err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("checkpoint: open %s: it is not a directory: %w", path, ErrCorrupt)
	}
	if size, err := statFile(fsys, path, ManifestFile); err != nil {
		return nil, err
	} else if size > maxManifest {
		return nil, corrupt(path, ManifestFile, "has %d bytes, more than %d", size, maxManifest)
	}
	data, err := durable.ReadFile(fsys, filepath.Join(path, ManifestFile), maxManifest)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutSuffix(data, []byte(manifestTail))
	if !ok || len(body) < hexLen || selfHash(data) != string(body[len(body)-hexLen:]) {
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
		if !PlainName(e.Name) || e.Name == ManifestFile || seen[e.Name] || e.Size < 0 || len(e.SHA256) != hexLen {
			return nil, corrupt(path, ManifestFile, "is malformed (file %q)", e.Name)
		}
		seen[e.Name] = true
	}
	// A copy may have any name, but a name of a step must be the right one.
	if step, ok := parseName(filepath.Base(path)); ok && step != m.Step {
		return nil, corrupt(path, ManifestFile, "belongs to step %d", m.Step)
	}
	return &m, nil
}
