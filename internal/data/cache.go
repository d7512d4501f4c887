package data

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gimbal/internal/durable"
)

// Cache is a corpus as tokens that lies in the cache.
type Cache struct {
	Dir       string    `json:"dir"`
	Bytes     int64     `json:"bytes"`
	Used      time.Time `json:"used"` // last opened
	Documents int64     `json:"documents"`
	Tokens    int64     `json:"tokens"`
	Broken    string    `json:"broken,omitempty"` // why it would be made again, or that it is litter
}

// DefaultCacheDir is where caches lie unless something else is asked for.
func DefaultCacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil { // a container without a home
		base = os.TempDir()
	}
	return filepath.Join(base, "gimbal")
}

// Caches lists what lies in a parent of caches ("" for the default), the one last used first. Nothing is hashed.
func Caches(parent string) ([]Cache, error) {
	if parent == "" {
		parent = DefaultCacheDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []Cache
	for _, e := range entries {
		if !e.IsDir() || !isCache(e.Name()) {
			continue
		}
		c := Cache{Dir: filepath.Join(parent, e.Name())}
		info, err := e.Info()
		if err != nil {
			continue // it went away while we looked
		}
		c.Used = info.ModTime()
		err = filepath.WalkDir(c.Dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				c.Bytes += info.Size()
			}
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if m, err := readManifest(durable.OS, c.Dir, e.Name()); err != nil {
			c.Broken = err.Error()
		} else {
			c.Documents, c.Tokens = m.Documents, m.Tokens
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b Cache) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// isCache reports whether a name is that of a cache, or of one that was being made. Whatever else lies there stays.
func isCache(name string) bool {
	if len(name) > len(durable.TempPrefix) && name[:len(durable.TempPrefix)] == durable.TempPrefix {
		return true
	}
	if len(name) != 32 {
		return false
	}
	for _, c := range name {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// Remove deletes the cache. Whoever has it open keeps what is mapped, where the system allows to delete it at all.
func (c Cache) Remove() error { return os.RemoveAll(c.Dir) }

// touch notes that a cache is in use. Where that fails, it only looks older than it is.
func touch(dir string) {
	now := time.Now()
	_ = os.Chtimes(dir, now, now)
}
