package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gimbal/internal/device/wire"
	"gimbal/internal/durable"
	"gimbal/internal/graph"
)

// cache keeps compiled programs on disk. It is a folder that only the user can reach: what lies there is run.
type cache struct {
	dir  string // "": there is none
	base string // what all programs of a session have in common
}

// cacheBytes is the most of all programs; the oldest go first.
const cacheBytes = 4 << 30

// openCache opens the cache of a session. Without one, programs are compiled each time.
func openCache(o Options, p Plugin) cache {
	dir := o.Cache
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return cache{}
		}
		dir = filepath.Join(base, "gimbal", "programs")
	}
	plugin, err := os.Stat(o.Plugin)
	if err != nil || durable.Private(dir) != nil {
		return cache{}
	}
	_ = durable.SweepFree(dir, "") // programs that were half written
	host := ""
	if p.Platform == "cpu" { // its programs are for one processor
		host, _ = os.Hostname()
	}
	driver, _ := os.ReadFile("/proc/driver/nvidia/version") // it and the libraries have a say in what is compiled
	libraries, _ := filepath.Glob(filepath.Join(site(o.Plugin), "nvidia_*.dist-info"))
	return cache{dir, fmt.Sprintf("%#v", []any{wire.Build(), plugin.Size(), plugin.ModTime().UnixNano(), p.Platform,
		p.Version, p.API, p.Devices[0].Kind, len(p.Devices), o.Target, host, o.Env, os.Getenv("XLA_FLAGS"),
		os.Getenv("LIBTPU_INIT_ARGS"), string(driver), libraries})}
}

// name is the file of a program.
func (c cache) name(p graph.Program) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %s", c.base, p.Devices, p.Text))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:]))
}

// entry is what the file of a program holds, after its own hash.
type entry struct {
	Memory Footprint
	Data   []byte
}

// load returns a compiled program and its memory. One with anything wrong is not there.
func (c cache) load(p graph.Program) (e entry, ok bool) {
	if c.dir == "" {
		return e, false
	}
	file, err := durable.ReadFile(durable.OS, c.name(p), cacheBytes)
	if err != nil || len(file) < sha256.Size {
		return e, false
	}
	sum, body := sha256.Sum256(file[sha256.Size:]), bytes.NewReader(file[sha256.Size:])
	if !bytes.HasPrefix(file, sum[:]) || gob.NewDecoder(body).Decode(&e) != nil {
		return e, false
	}
	now := time.Now()
	_ = os.Chtimes(c.name(p), now, now) // the oldest go first
	return e, true
}

// save keeps a compiled program. One that cannot be kept is compiled again.
func (c cache) save(p graph.Program, e entry) {
	if c.dir == "" {
		return
	}
	var body bytes.Buffer
	_ = gob.NewEncoder(&body).Encode(e) // a buffer takes everything
	sum := sha256.Sum256(body.Bytes())
	_ = durable.WriteFile(durable.OS, c.name(p), append(sum[:], body.Bytes()...))
	c.trim(cacheBytes)
}

// trim removes the programs that were used longest ago, until the rest takes at most limit bytes.
func (c cache) trim(limit int64) {
	entries, _ := os.ReadDir(c.dir)
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, f := range files {
		if limit -= f.Size(); limit < 0 {
			_ = os.Remove(filepath.Join(c.dir, f.Name()))
		}
	}
}

// remove removes a program that the plugin does not survive.
func (c cache) remove(p graph.Program) {
	if c.dir != "" {
		_ = os.Remove(c.name(p))
	}
}
