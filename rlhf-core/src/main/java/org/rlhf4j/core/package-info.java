/**
 * The substrate that every training stage stands on: tensors ({@code torch}), checkpoint folders
 * ({@code checkpoint}), models ({@code model}), tokenizers and templates ({@code text}), rows and
 * batches ({@code data}), sampling ({@code generate}), the training step ({@code train}), settings
 * ({@code config}) and what a run shows ({@code report}).
 */
package org.rlhf4j.core;
