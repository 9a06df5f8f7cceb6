/**
 * Rows of training data: reading them, turning them into token ids with targets, packing and
 * ordering them. Nothing is dropped, cut or skipped without being counted in the {@link
 * org.rlhf4j.core.data.DataReport}.
 */
package org.rlhf4j.core.data;
