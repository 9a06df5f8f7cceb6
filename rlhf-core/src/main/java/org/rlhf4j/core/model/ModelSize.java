package org.rlhf4j.core.model;

/**
 * Numbers of parameters.
 *
 * @param total of the model and its adapter
 * @param trainable those that training changes
 */
public record ModelSize(long total, long trainable) {}
