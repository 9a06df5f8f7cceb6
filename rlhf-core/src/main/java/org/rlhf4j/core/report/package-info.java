/**
 * What a run tells: the console for people, {@code metrics.jsonl}, curves, samples, TensorBoard
 * events, the model card and the provenance record for tools and later readers. Nothing here needs
 * tensors; numbers arrive as plain Java values.
 */
package org.rlhf4j.core.report;
