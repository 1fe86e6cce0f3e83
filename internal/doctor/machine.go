package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/policy"
)

// These are the limits for the free space, in bytes, of each of the two folders of a run. The
// temporary folder holds the compressed and unpacked layers of an image. The cache folder holds
// SBOMs and, during an update, two databases.
const (
	leastSpace = 512 << 20 // less than this is a failure
	goodSpace  = 4 << 30   // less than this is a warning
	probeSize  = 4 << 10
)

// policy checks that the policies can be loaded.
func (o Options) policy(context.Context) Result {
	set, err := o.Policies()
	if err != nil {
		return failed(err, o.lintCommand())
	}
	return ok("%d valid: %s", len(set), strings.Join(o.PolicyFiles, ", "))
}

// database verifies the vulnerability database and compares its age with the limit of the policies.
func (o Options) database(ctx context.Context) Result {
	dir, err := o.DatabaseDir()
	var status vulndb.Status
	if err == nil {
		status, err = vulndb.ReadStatus(ctx, dir)
	}
	if err == nil {
		err = status.Err
	}
	limit := o.maxAge()
	if err == nil {
		err = vulndb.CheckAge(status.Database, limit, o.Now())
	}
	if err != nil {
		return failed(err, o.mendDatabase(err))
	}
	oldest := status.Database.Built
	for _, p := range status.Database.Providers {
		if p.Captured.Before(oldest) {
			oldest = p.Captured
		}
	}
	return ok("built %s, usable until %s", status.Database.Built.Format(time.RFC3339), oldest.Add(limit).Format(time.RFC3339))
}

// maxAge returns the maximum age of the database. If the policies cannot be loaded, it returns the
// default, because another check reports that error.
func (o Options) maxAge() time.Duration {
	if o.Policies == nil {
		return policy.DefaultMaxAge
	}
	set, err := o.Policies()
	if err != nil {
		return policy.DefaultMaxAge
	}
	repository := ""
	if o.Staging != nil {
		repository = o.Staging.Context().Name()
	}
	return set.MaxDatabaseAge(repository)
}

func (o Options) mendDatabase(err error) string {
	var unusable *vulndb.UnusableError
	var untrusted *disk.UntrustedError
	switch {
	case errors.As(err, &untrusted):
		return mendFolder(untrusted, cacheCommand)
	case errors.As(err, &unusable) && unusable.Problem == vulndb.FromFuture:
		return clockCommand()
	case o.Feed == nil:
		return o.importCommand()
	}
	return o.updateCommand()
}

// cache checks the entries of the cache that are not encrypted. A damaged entry is only a warning, because a run ignores it.
func (o Options) cache(ctx context.Context) Result {
	kept, hasKey, err := o.Cache()
	if err != nil {
		var untrusted *disk.UntrustedError
		if errors.As(err, &untrusted) {
			return failed(err, mendFolder(untrusted, cacheCommand))
		}
		return failed(err, cacheCommand)
	}
	v, err := kept.Verify(ctx)
	switch {
	case err != nil:
		return failed(err, cacheCommand)
	case len(v.Damaged) > 0:
		return warned(o.pruneCommand(), "%d of %d entries are damaged, and their images will be scanned again: %s", len(v.Damaged), v.Checked, v.Damaged[0])
	case !hasKey:
		return ok("%d entries, no cache key yet: a run creates it", v.Entries)
	case v.Checked < v.Entries:
		return ok("%d entries, of which the last %d used are intact", v.Entries, v.Checked)
	}
	return ok("%d entries, all intact", v.Checked)
}

// temp checks that a file can be written to the temporary folder.
func (o Options) temp(context.Context) Result {
	dir, err := o.TempDir()
	if err == nil {
		err = disk.CheckWritable(dir, probeSize)
	}
	if err == nil {
		return ok("%s can be written", dir)
	}
	var untrusted *disk.UntrustedError
	if errors.As(err, &untrusted) {
		return failed(err, mendFolder(untrusted, tempCommand))
	}
	return failed(fmt.Errorf("writing to the temporary folder: %w", err), tempCommand)
}

func (o Options) diskTemp(context.Context) Result {
	r := space(o.TempDir, "images")
	if r.Status == OK {
		return r
	}
	r.Mend = "export IMAGEGATE_TEMP_DIR=/path/on/a/larger/disk"
	if dir, err := o.CacheDir(); err == nil {
		if free, err := disk.Free(dir); err == nil && free >= goodSpace {
			other := quote(filepath.Join(dir, "temp"))
			r.Mend = fmt.Sprintf("mkdir -p -m 700 %s && export IMAGEGATE_TEMP_DIR=%s", other, other)
		}
	}
	return r
}

func (o Options) diskCache(context.Context) Result {
	r := space(o.CacheDir, "databases and SBOMs")
	if r.Status != OK {
		r.Mend = o.pruneCommand()
	}
	return r
}

// space checks the free space of a folder against the limits. If the folder cannot be used at all,
// another check reports that.
func space(folder func() (string, error), what string) Result {
	dir, err := folder()
	if err != nil {
		return warned("", "not measured: %v", err)
	}
	free, err := disk.Free(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return ok("not measured on %s", runtime.GOOS)
	}
	if err != nil {
		return failed(err, "")
	}
	text := fmt.Sprintf("%s has %s free for %s", dir, humanize.Bytes(uint64(max(free, 0))), what)
	switch {
	case free < leastSpace:
		return failed(fmt.Errorf("%s, but a run needs %s: %w", text, humanize.Bytes(leastSpace), syscall.ENOSPC), "")
	case free < goodSpace:
		return warned("", "%s; a large image or a database update can need %s", text, humanize.Bytes(goodSpace))
	}
	return ok("%s", text)
}

// mendFolder returns the command for a folder that other users can change: chmod if this user owns
// the folder, otherwise other, which selects another folder.
func mendFolder(e *disk.UntrustedError, other string) string {
	info, err := os.Lstat(e.At)
	if err != nil || !disk.IsOwn(info) || e.Problem == disk.OwnedByOther {
		return other
	}
	if e.Problem == disk.ReadableByOthers {
		return "chmod go-rwx " + quote(e.At)
	}
	return "chmod go-w " + quote(e.At)
}
