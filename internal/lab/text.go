package lab

import (
	"math/rand/v2"
	"strings"
)

var vocabulary = strings.Fields("return error context func string value length buffer reader writer package import const type struct " +
	"interface range switch case default break continue select channel map slice append copy delete close panic recover defer")

// Text returns random text of this size in bytes. It compresses about as well as source code.
func Text(r *rand.Rand, size int) string {
	var s strings.Builder
	for s.Len() < size {
		s.WriteString(vocabulary[r.IntN(len(vocabulary))])
		s.WriteByte("_. (){};"[r.IntN(8)])
		if r.IntN(10) == 0 {
			s.WriteByte('\n')
		}
	}
	return s.String()[:size]
}
