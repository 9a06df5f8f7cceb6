/**
 * Model folders on disk as Hugging Face lays them out: safetensors files are read through memory
 * maps and written piece by piece, and nothing becomes visible under its final name before it is
 * complete and on the disk. Plain Java, no tensor library.
 */
package org.rlhf4j.core.checkpoint;
