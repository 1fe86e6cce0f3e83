package disk

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPrivateGroupWithAccessListIsUntrusted checks that a folder of the user's private group is
// untrusted if it has an access control list. The group bits of the mode then limit the permissions
// of every user and group in the list, and do not describe the private group.
func TestPrivateGroupWithAccessListIsUntrusted(t *testing.T) {
	if os.Getegid() != os.Geteuid() {
		t.Skip("this user has no group of its own")
	}
	dir := folder(t, filepath.Join(t.TempDir(), "listed"), 0o775)
	list := binary.LittleEndian.AppendUint32(nil, 2) // version of the ACL format
	for _, entry := range []struct {
		tag, rights uint16
		id          uint32
	}{{0x01, 7, ^uint32(0)}, {0x02, 7, stranger}, {0x04, 5, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 5, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, entry.tag)
		list = binary.LittleEndian.AppendUint16(list, entry.rights)
		list = binary.LittleEndian.AppendUint32(list, entry.id)
	}
	if err := syscall.Setxattr(dir, "system.posix_acl_access", list, 0); err != nil {
		t.Skipf("no access lists here: %v", err)
	}
	untrusted(t, Trusted(dir), WritableByOthers, dir)
}
